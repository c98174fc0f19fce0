package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Settings are what differs between nodes; everything else is fixed by Configure.
type Settings struct {
	Home          string        // the node's directory, made by phr-chain init
	GenesisPath   string        // the genesis that all organisations compared
	P2PListen     string        // host:port for the other nodes
	P2PExternal   string        // host:port that the others dial, where it differs; may be empty
	JSONRPC       string        // loopback host:port for the member's own software
	CometRPC      string        // loopback host:port for status, propose and submit
	Prometheus    string        // loopback host:port for CometBFT's metrics; none if empty
	Peers         []string      // ID@host:port of every other node
	CommitTimeout time.Duration // wait after a block before the next; sets the block interval
	// EmptyBlocksInterval is how long after a block the next comes if no transaction does; at most
	// CommitTimeout: after that, as with transactions.
	EmptyBlocksInterval time.Duration
	Pruning             string // of old state: nothing (archive), default or everything; events are never pruned
	LogLevel            string

	// ReplaceAllowedNodes makes the ids of Peers the list of who may connect, in place of the list that is there.
	ReplaceAllowedNodes bool
}

// Earlier returns the settings that a home directory was configured with, or nil if it was not: whoever
// configures again changes what is named and keeps the rest.
func Earlier(home string) (*Settings, error) {
	if _, err := os.Stat(filepath.Join(home, "config", "app.toml")); os.IsNotExist(err) {
		return nil, nil
	}
	options, comet, err := load(home)
	if err != nil {
		return nil, fmt.Errorf("the earlier configuration: %w", err)
	}
	settings := &Settings{
		P2PListen: strings.TrimPrefix(comet.P2P.ListenAddress, "tcp://"), P2PExternal: comet.P2P.ExternalAddress,
		JSONRPC: options.GetString("json-rpc.address"), CometRPC: strings.TrimPrefix(comet.RPC.ListenAddress, "tcp://"),
		CommitTimeout: comet.Consensus.TimeoutCommit, EmptyBlocksInterval: comet.Consensus.CreateEmptyBlocksInterval, Pruning: options.GetString("pruning"), LogLevel: comet.LogLevel,
	}
	if comet.Instrumentation.Prometheus {
		settings.Prometheus = comet.Instrumentation.PrometheusListenAddr
	}
	if comet.P2P.PersistentPeers != "" {
		settings.Peers = strings.Split(comet.P2P.PersistentPeers, ",")
	}
	return settings, nil
}

// KeepEarlier puts the earlier settings of the home directory in the place of those that were not named; named
// tells of a command line's flag whether it was given.
func (settings *Settings) KeepEarlier(named func(flag string) bool) error {
	earlier, err := Earlier(settings.Home)
	if err != nil || earlier == nil {
		return err
	}
	for flag, text := range map[string][2]*string{
		"p2p-listen": {&settings.P2PListen, &earlier.P2PListen}, "p2p-external": {&settings.P2PExternal, &earlier.P2PExternal},
		"json-rpc": {&settings.JSONRPC, &earlier.JSONRPC}, "comet-rpc": {&settings.CometRPC, &earlier.CometRPC},
		"prometheus": {&settings.Prometheus, &earlier.Prometheus}, "pruning": {&settings.Pruning, &earlier.Pruning},
		"log-level": {&settings.LogLevel, &earlier.LogLevel},
	} {
		if !named(flag) {
			*text[0] = *text[1]
		}
	}
	if !named("peer") {
		settings.Peers = earlier.Peers
	}
	if !named("commit-timeout") {
		settings.CommitTimeout = earlier.CommitTimeout
	}
	if !named("empty-blocks-interval") {
		settings.EmptyBlocksInterval = earlier.EmptyBlocksInterval
	}
	return nil
}
