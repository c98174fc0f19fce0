// Package node configures and runs one node of the chain: CometBFT and the application in one
// process, and a JSON-RPC server that offers only what the product uses.
package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/viper"
	"golang.org/x/sync/errgroup"

	cmtcfg "github.com/cometbft/cometbft/config"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/evm/indexer"
	evmserver "github.com/cosmos/evm/server"
	evmconfig "github.com/cosmos/evm/server/config"

	"cosmossdk.io/log/v2"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/server"
	servercmtlog "github.com/cosmos/cosmos-sdk/server/log"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"phr.example/chain/app"
)

// Start runs the node of a configured home directory until SIGTERM or SIGINT, until the height of app.toml's
// halt-height, or until it fails; a node whose consensus has failed ends with that as its error. Its log lines
// go to logs.
func Start(home string, logs io.Writer) (failure error) {
	options, comet, err := load(home)
	if err != nil {
		return err
	}
	level, err := zerolog.ParseLevel(comet.LogLevel)
	if err != nil {
		return fmt.Errorf("log_level of config.toml: %w", err)
	}
	logger := log.NewLogger(logs, log.LevelOption(level), log.ColorOption(false))
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, ended := context.WithCancelCause(interrupted)
	defer ended(nil)
	evmserver.SetEVMLogger(evmserver.NewSlogFromCosmosLogger(logger.With("module", "evm"), comet.LogLevel))

	db, err := dbm.NewDB("application", dbm.BackendType(comet.DBBackend), comet.DBDir())
	if err != nil {
		return fmt.Errorf("open the state database (is another node running on %s?): %w", home, err)
	}
	application, err := app.New(logger, db, options, allowedNodes(home).permit)
	if err != nil {
		return err
	}
	defer func() {
		if err := application.Close(); err != nil && failure == nil {
			failure = err
		}
	}()

	watch := consensusWatch{servercmtlog.CometLoggerWrapper{Logger: logger.With("server", "node")}, ended}
	patience := takeEmptyBlocksInterval(comet.Consensus)
	node, err := newComet(comet, application, watch)
	if err != nil {
		return afterHalt(err, logger)
	}
	if patience > 0 {
		if err := keepQuiet(node, func() bool { return application.Mempool.CountTx() > 0 }, patience, watch); err != nil {
			return err
		}
	}
	if err := node.Start(); err != nil {
		return fmt.Errorf("start CometBFT: %w", err)
	}
	defer stopComet(node)
	application.Mempool.SetEventBus(node.EventBus())
	go keepPeers(ctx, comet.P2P.PersistentPeers, allowedNodes(home), node.Switch(), logger)
	err = serve(ctx, server.NewContext(options, comet, logger), application, local.New(node), node.GenesisDoc().ChainID)
	if cause := endOf(ctx); cause != nil {
		return afterHalt(cause, logger)
	}
	return err
}

// stopComet ends CometBFT, and does not wait for ever: a part that failed may not end in order.
func stopComet(node *cmtnode.Node) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if node.IsRunning() {
			_ = node.Stop() // it only fails when it is stopped already
			node.Wait()
		}
	}()
	select {
	case <-stopped:
	case <-time.After(stopTimeout):
	}
}

func newComet(comet *cmtcfg.Config, application *app.App, logger cmtlog.Logger) (*cmtnode.Node, error) {
	for _, file := range []string{comet.PrivValidatorKeyFile(), comet.NodeKeyFile(), comet.GenesisFile()} {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("%w; run phr-chain init and configure for this home first", err)
		}
	}
	nodeKey, err := p2p.LoadNodeKey(comet.NodeKeyFile())
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	return cmtnode.NewNode(comet,
		privval.LoadOrGenFilePV(comet.PrivValidatorKeyFile(), comet.PrivValidatorStateFile()), nodeKey,
		proxy.NewLocalClientCreator(server.NewCometABCIWrapper(application)),
		evmserver.GenDocProvider(comet), cmtcfg.DefaultDBProvider,
		cmtnode.DefaultMetricsProvider(comet.Instrumentation), logger)
}

// serve indexes Ethereum transactions and answers JSON-RPC until the context ends.
func serve(ctx context.Context, serverCtx *server.Context, application *app.App, comet *local.Local, chainID string) error {
	encoding := application.Encoding()
	clientCtx := client.Context{}.WithCodec(encoding.Codec).WithInterfaceRegistry(encoding.InterfaceRegistry).
		WithTxConfig(encoding.TxConfig).WithLegacyAmino(encoding.Amino).WithChainID(chainID).
		WithHomeDir(serverCtx.Config.RootDir).WithClient(comet).WithAccountRetriever(authtypes.AccountRetriever{})
	application.RegisterTxService(clientCtx)
	application.RegisterTendermintService(clientCtx)
	application.Mempool.SetClientCtx(clientCtx)

	config, err := evmconfig.GetConfig(serverCtx.Viper)
	if err != nil {
		return err
	}
	indexDB, err := evmserver.OpenIndexerDB(serverCtx.Config.RootDir, dbm.BackendType(serverCtx.Config.DBBackend))
	if err != nil {
		return fmt.Errorf("open the transaction index: %w", err)
	}
	defer func() { _ = indexDB.Close() }() // entries that it loses are made again at the next start
	index := indexer.NewKVIndexer(indexDB, serverCtx.Logger.With("indexer", "evm"), clientCtx)
	blocks := &follower{
		index: index, db: indexDB, comet: comet, executed: application.LastBlockHeight, patience: indexPatience,
		logger: serverCtx.Logger.With("indexer", "evm"),
	}
	caughtUp := make(chan struct{})
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error { return blocks.follow(working, func() { close(caughtUp) }) })
	group.Go(func() error {
		select {
		case <-working.Done():
			return nil
		case <-caughtUp:
		}
		if !ready(working, application) {
			return nil
		}
		return serveJSONRPC(working, serverCtx, clientCtx, config, index, blocks.isBehind, application)
	})
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil // asked to end
}

// ready waits until there is state to answer for: two blocks, since the EVM's parameters are restored
// only from the second on. It returns false if the context ends first.
func ready(ctx context.Context, application *app.App) bool {
	for application.LastBlockHeight() < 2 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(readyInterval):
		}
	}
	return true
}

// load reads config.toml and app.toml of a home directory.
func load(home string) (*viper.Viper, *cmtcfg.Config, error) {
	options := viper.New()
	options.SetConfigType("toml")
	for _, name := range []string{"config.toml", "app.toml"} {
		path := filepath.Join(home, "config", name)
		text, err := readLimited(path, maximumConfigBytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%w; run phr-chain configure for this home first", err)
		}
		if err := options.MergeConfig(bytes.NewReader(text)); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	comet := cmtcfg.DefaultConfig()
	if err := options.Unmarshal(comet); err != nil {
		return nil, nil, fmt.Errorf("config.toml of %s: %w", home, err)
	}
	comet.SetRoot(home)
	options.Set("home", home)
	if err := comet.ValidateBasic(); err != nil {
		return nil, nil, fmt.Errorf("config.toml of %s: %w", home, err)
	}
	return options, comet, nil
}
