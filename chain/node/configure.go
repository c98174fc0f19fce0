package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/p2p"
	evmconfig "github.com/cosmos/evm/server/config"

	pruningtypes "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"

	sdkconfig "github.com/cosmos/cosmos-sdk/server/config"

	"phr.example/chain/app"
	"phr.example/chain/ceremony"
)

// Fixed limits. One account may hold 512 waiting transactions where others need the room (a client has at
// most 500 in flight), and all accounts together as many executable ones as are checked anew at every block;
// getLogs covers what a node asks for when it catches up.
const (
	poolSlotsPerAccount = 512
	poolSlots           = 4_096
	poolQueue           = 16_384
	maximumBodyBytes    = 5 << 20
	maximumLogs         = 100_000
	maximumLogBlocks    = 10_000
	maximumBatch        = 500 // a client asks for the receipts of all that it has in flight at once
	maximumBatchBytes   = 32 << 20
	callTimeout         = 5 * time.Second
	maximumConnections  = 256
	maximumTxBytes      = 1 << 20
	maximumInboundPeers = 200
	handshakeTimeout    = 3 * time.Second
	rpcTimeout          = 2 * time.Minute
	// DefaultCommitTimeout gives blocks about every half second with four validators.
	DefaultCommitTimeout = 250 * time.Millisecond
	// DefaultEmptyBlocksInterval leaves six blocks to the 30 s after which nodes take the chain for halted.
	DefaultEmptyBlocksInterval = 5 * time.Second
	longestEmptyBlocksInterval = 10 * time.Second // more, and a single block in delay would look like a halt

	proposeTimeout  = 500 * time.Millisecond // what each turn of a dead validator costs
	shutdownTimeout = 2 * time.Second
	stopTimeout     = 30 * time.Second
	readyInterval   = 50 * time.Millisecond
	indexTimeout    = 2 * time.Second

	quietLookInterval = 10 * time.Millisecond // how often an idle validator looks for a transaction
	firstQuietHeight  = 2

	indexInterval      = 10 * time.Millisecond // how often the index looks for a new block
	indexRetryInterval = 200 * time.Millisecond
	indexPatience      = time.Minute
	indexLagBlocks     = 10
)

// Configured is what Configure answers.
type Configured struct {
	Home          string   `json:"home"`
	NodeID        string   `json:"node_id"`
	ChainID       string   `json:"chain_id"`
	GenesisSHA256 string   `json:"genesis_sha256"`
	AllowedNodes  []string `json:"allowed_nodes"` // the list as it is now
	Added         []string `json:"added"`         // what this call put on it
	Removed       []string `json:"removed"`       // what it took off
	NotAllowed    []string `json:"not_allowed"`   // peers of the configuration that may not connect
}

// Configure writes genesis.json, config.toml and app.toml of a home directory, and allowed-nodes.json where
// there is none. It may be run again to change settings; it refuses to put another chain's genesis in the
// place of one, and changes a list of allowed nodes only when it is asked to.
func Configure(settings Settings) (*Configured, error) {
	for flag, address := range map[string]string{"--json-rpc": settings.JSONRPC, "--comet-rpc": settings.CometRPC, "--prometheus": settings.Prometheus} {
		if flag == "--prometheus" && address == "" {
			continue
		}
		if err := requireLoopback(address); err != nil {
			return nil, fmt.Errorf("%s %q: %w", flag, address, err)
		}
	}
	if _, _, err := net.SplitHostPort(settings.P2PListen); err != nil {
		return nil, fmt.Errorf("--p2p-listen %q: %w", settings.P2PListen, err)
	}
	if !slices.Contains([]string{pruningtypes.PruningOptionNothing, pruningtypes.PruningOptionDefault, pruningtypes.PruningOptionEverything}, settings.Pruning) {
		return nil, fmt.Errorf("--pruning %q: expected nothing, default or everything", settings.Pruning)
	}
	if settings.EmptyBlocksInterval < 0 || settings.EmptyBlocksInterval > longestEmptyBlocksInterval {
		return nil, fmt.Errorf("--empty-blocks-interval %s: expected 0s (one each commit timeout) to %s", settings.EmptyBlocksInterval, longestEmptyBlocksInterval)
	}
	peerIDs, err := peerIDs(settings.Peers)
	if err != nil {
		return nil, err
	}
	list := allowedNodes(settings.Home)
	before, err := list.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; mend or remove it first", err)
	}
	allowed := before
	if err != nil || settings.ReplaceAllowedNodes {
		allowed = peerIDs
	}
	if len(allowed) == 0 && len(before) > 0 {
		return nil, fmt.Errorf("--replace-allowed-nodes without a --peer would cut off all %d nodes of %s", len(before), list.path())
	}
	comet := cometConfig(settings, peerIDs)
	if err := comet.ValidateBasic(); err != nil {
		return nil, err
	}
	nodeKey, err := p2p.LoadNodeKey(filepath.Join(settings.Home, "config", "node_key.json"))
	if err != nil {
		return nil, fmt.Errorf("node key of %s: %w; run phr-chain init first", settings.Home, err)
	}
	genesis, err := readLimited(settings.GenesisPath, maximumGenesisBytes)
	if err != nil {
		return nil, err
	}
	summary, err := ceremony.Inspect(genesis)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settings.GenesisPath, err)
	}
	if err := placeGenesis(filepath.Join(settings.Home, "config", "genesis.json"), genesis); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(settings.Home, "data"), 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(settings.Home, "config")
	if err := writeThrough(filepath.Join(config, "config.toml"), func(path string) { cmtcfg.WriteConfigFile(path, comet) }); err != nil {
		return nil, err
	}
	sdkconfig.SetConfigTemplate(sdkconfig.DefaultConfigTemplate + evmconfig.DefaultEVMConfigTemplate)
	application := appConfig(settings, summary.EVMChainID)
	if err := writeThrough(filepath.Join(config, "app.toml"), func(path string) { sdkconfig.WriteConfigFile(path, application) }); err != nil {
		return nil, err
	}
	if err := list.write(allowed); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(genesis)
	return &Configured{
		settings.Home, string(nodeKey.ID()), summary.ChainID, hex.EncodeToString(digest[:]),
		allowed, without(allowed, before), without(before, allowed), without(peerIDs, allowed),
	}, nil
}

// without returns the ids of one list that another does not have.
func without(ids, others []string) []string {
	return slices.DeleteFunc(append([]string{}, ids...), func(id string) bool { return slices.Contains(others, id) })
}

func placeGenesis(path string, genesis []byte) error {
	present, err := readLimited(path, maximumGenesisBytes)
	if err == nil && !bytes.Equal(present, genesis) {
		return fmt.Errorf("%s holds another genesis; a home serves one chain: use a new home, or remove it knowingly", path)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return writeDurably(path, genesis, 0o644)
}

func requireLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("expected a loopback address such as 127.0.0.1: it has no authentication")
	}
	return nil
}

func peerIDs(peers []string) ([]string, error) {
	ids := []string{}
	for _, peer := range peers {
		address, err := p2p.NewNetAddressString(peer)
		if err != nil {
			return nil, fmt.Errorf("--peer %q: expected ID@host:port: %w", peer, err)
		}
		ids = append(ids, string(address.ID))
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func cometConfig(settings Settings, peerIDs []string) *cmtcfg.Config {
	config := cmtcfg.DefaultConfig()
	config.Moniker = filepath.Base(settings.Home)
	config.LogLevel = settings.LogLevel
	config.FilterPeers = true
	config.RPC.ListenAddress = "tcp://" + settings.CometRPC
	config.RPC.CORSAllowedOrigins = []string{}
	config.RPC.MaxOpenConnections = maximumConnections
	config.P2P.ListenAddress = "tcp://" + settings.P2PListen
	config.P2P.ExternalAddress = settings.P2PExternal
	config.P2P.PersistentPeers = strings.Join(settings.Peers, ",")
	config.P2P.UnconditionalPeerIDs = strings.Join(peerIDs, ",")
	config.P2P.PrivatePeerIDs = strings.Join(peerIDs, ",")
	config.P2P.PexReactor = false
	// Who has not proven its id yet takes a place as well: more of them, and not for long.
	config.P2P.MaxNumInboundPeers = maximumInboundPeers
	config.P2P.HandshakeTimeout = handshakeTimeout
	config.P2P.AddrBookStrict = false
	config.P2P.AllowDuplicateIP = true
	config.P2P.PersistentPeersMaxDialPeriod = 5 * time.Second
	config.Mempool.Type = cmtcfg.MempoolTypeApp
	config.Mempool.MaxTxBytes = maximumTxBytes
	config.Consensus.TimeoutPropose = proposeTimeout
	config.Consensus.TimeoutCommit = settings.CommitTimeout
	config.Consensus.CreateEmptyBlocksInterval = settings.EmptyBlocksInterval // read by Start, see quiet.go
	config.Storage.DiscardABCIResponses = false                               // receipts and logs of every height are made from them
	config.TxIndex.Indexer = "kv"
	config.Instrumentation.Prometheus = settings.Prometheus != ""
	config.Instrumentation.PrometheusListenAddr = settings.Prometheus
	return config
}

func appConfig(settings Settings, evmChainID uint64) *evmconfig.Config {
	config := evmconfig.DefaultConfig()
	config.MinGasPrices = "0" + ceremony.GasDenomination
	config.Pruning = settings.Pruning
	config.MinRetainBlocks = 0 // blocks and their results are kept for ever, whatever state is pruned
	config.IndexEvents = []string{"tx.height"}
	config.Mempool.MaxTxs = poolSlots
	config.EVM.EVMChainID = evmChainID
	config.EVM.Mempool.AccountSlots = poolSlotsPerAccount
	config.EVM.Mempool.GlobalSlots = poolSlots
	config.EVM.Mempool.AccountQueue = poolSlotsPerAccount
	config.EVM.Mempool.GlobalQueue = poolQueue
	config.EVM.Mempool.InsertQueueSize = poolQueue
	config.JSONRPC.Enable = true
	config.JSONRPC.API = []string{"eth", "net", "web3"}
	config.JSONRPC.Address = settings.JSONRPC
	config.JSONRPC.GasCap = app.LargestGasLimit
	config.JSONRPC.EVMTimeout = callTimeout
	config.JSONRPC.HTTPTimeout = rpcTimeout
	config.JSONRPC.HTTPBodyLimit = maximumBodyBytes
	config.JSONRPC.LogsCap = maximumLogs
	config.JSONRPC.BlockRangeCap = maximumLogBlocks
	config.JSONRPC.BatchRequestLimit = maximumBatch
	config.JSONRPC.BatchResponseMaxSize = maximumBatchBytes
	config.JSONRPC.MaxOpenConnections = maximumConnections
	config.JSONRPC.EnableIndexer = true
	return config
}
