package node

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/p2p"

	"cosmossdk.io/log/v2"
)

const peersInterval = 5 * time.Second

// allowedNodesFile lists who may connect.
type allowedNodesFile struct {
	Nodes []string `json:"nodes"`
}

// allowedNodes is the list of a home directory; the file is read anew for every question.
type allowedNodes string

func (home allowedNodes) path() string {
	return filepath.Join(string(home), "config", "allowed-nodes.json")
}

func (home allowedNodes) read() ([]string, error) {
	content, err := readLimited(home.path(), maximumConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("allowed nodes: %w", err)
	}
	var allowed allowedNodesFile
	if err := json.Unmarshal(content, &allowed); err != nil {
		return nil, fmt.Errorf("%s: %w", home.path(), err)
	}
	return allowed.Nodes, nil
}

func (home allowedNodes) write(nodes []string) error {
	content, err := json.MarshalIndent(allowedNodesFile{Nodes: nodes}, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(home.path(), append(content, '\n'), 0o644)
}

// permit returns an error unless the file lists the node id; without a readable file nobody may connect.
func (home allowedNodes) permit(nodeID string) error {
	nodes, err := home.read()
	if err != nil {
		return err
	}
	if !slices.Contains(nodes, nodeID) {
		return fmt.Errorf("node %s is not in %s", nodeID, home.path())
	}
	return nil
}

// network is the part of CometBFT's switch that keeping peers needs.
type network interface {
	Peers() p2p.IPeerSet
	DialPeerWithAddress(address *p2p.NetAddress) error
	StopPeerGracefully(peer p2p.Peer)
}

// keepPeers, until the context ends, disconnects nodes that were taken off the list, and dials configured
// ones that are missing. CometBFT asks for the list only when a node connects; and it forgets a persistent
// peer that accepts and closes at once, as one does that has not yet listed this node.
func keepPeers(ctx context.Context, persistent string, allowed allowedNodes, peers network, logger log.Logger) {
	ticker := time.NewTicker(peersInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		nodes, err := allowed.read()
		if err != nil { // half-written perhaps; who is connected stays, nobody comes
			logger.Error("the list of allowed nodes cannot be read", "error", err)
			continue
		}
		for _, peer := range peers.Peers().Copy() {
			if !slices.Contains(nodes, string(peer.ID())) {
				logger.Warn("disconnect a node that is no longer allowed", "node", peer.ID())
				peers.StopPeerGracefully(peer)
			}
		}
		for _, peer := range strings.Split(persistent, ",") {
			if id, _, found := strings.Cut(peer, "@"); found && slices.Contains(nodes, id) && !peers.Peers().Has(p2p.ID(id)) {
				go dial(peer, peers, logger)
			}
		}
	}
}

func dial(peer string, peers network, logger log.Logger) {
	address, err := p2p.NewNetAddressString(peer) // resolves a name anew each time
	if err == nil {
		err = peers.DialPeerWithAddress(address)
	}
	logger.Debug("dial missing peer", "peer", peer, "error", err)
}
