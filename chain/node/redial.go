package node

import (
	"context"
	"strings"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/p2p"

	"cosmossdk.io/log/v2"
)

const redialInterval = 5 * time.Second

// dialer is the part of CometBFT's switch that redialling needs.
type dialer interface {
	Peers() p2p.IPeerSet
	DialPeerWithAddress(address *p2p.NetAddress) error
}

// redial dials configured peers that are missing, until the context ends. CometBFT forgets a persistent
// peer that accepts and closes at once, as one does that has not yet put this node on its list, and
// otherwise waits longer and longer.
func redial(ctx context.Context, comet *cmtcfg.Config, network dialer, logger log.Logger) {
	ticker := time.NewTicker(redialInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, peer := range strings.Split(comet.P2P.PersistentPeers, ",") {
			if id, _, found := strings.Cut(peer, "@"); !found || network.Peers().Has(p2p.ID(id)) {
				continue
			}
			go func() {
				address, err := p2p.NewNetAddressString(peer) // resolves a name anew each time
				if err == nil {
					err = network.DialPeerWithAddress(address)
				}
				logger.Debug("dial missing peer", "peer", peer, "error", err)
			}()
		}
	}
}
