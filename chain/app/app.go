// Package app wires CometBFT, the Cosmos SDK and cosmos/evm into the consortium's chain. It holds no
// consensus, EVM or networking code: modules, their order, and who is admitted (admission.go).
package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/spf13/cast"

	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	evmaddress "github.com/cosmos/evm/encoding/address"
	evmmempool "github.com/cosmos/evm/mempool"
	precompiletypes "github.com/cosmos/evm/precompiles/types"
	evmserver "github.com/cosmos/evm/server"
	"github.com/cosmos/evm/server/flags"
	"github.com/cosmos/evm/x/feemarket"
	feemarketkeeper "github.com/cosmos/evm/x/feemarket/keeper"
	feemarkettypes "github.com/cosmos/evm/x/feemarket/types"
	"github.com/cosmos/evm/x/vm"
	evmkeeper "github.com/cosmos/evm/x/vm/keeper"
	"github.com/cosmos/evm/x/vm/runner"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	"cosmossdk.io/log/v2"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/baseapp/txnrunner"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	nodeservice "github.com/cosmos/cosmos-sdk/client/grpc/node"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/server"
	"github.com/cosmos/cosmos-sdk/server/api"
	"github.com/cosmos/cosmos-sdk/server/config"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkmempool "github.com/cosmos/cosmos-sdk/types/mempool"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/bank"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
	stakingkeeper "github.com/cosmos/cosmos-sdk/x/staking/keeper"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
)

// Name is the application's name in CometBFT's handshake.
const Name = "phr-chain"

// Chain is the part of a genesis that this application reads itself.
type Chain struct {
	EVMChainID uint64 `json:"evm_chain_id,string"` // EIP-155
}

var moduleAccounts = map[string][]string{
	authtypes.FeeCollectorName:     nil,
	stakingtypes.BondedPoolName:    {authtypes.Burner, authtypes.Staking},
	stakingtypes.NotBondedPoolName: {authtypes.Burner, authtypes.Staking},
	evmtypes.ModuleName:            {authtypes.Minter, authtypes.Burner},
	feemarkettypes.ModuleName:      nil,
}

// App is the chain's state machine.
type App struct {
	*baseapp.BaseApp
	encoding   Encoding
	evmChainID uint64
	modules    *module.Manager
	hydrate    func(sdk.Context) // sets the EVM's process-wide parameters from state
	checkOther sdk.AnteHandler   // the library's checks of a transaction that is no Ethereum one
	closed     sync.Once
	evmStore   storetypes.StoreKey // of the EVM's parameters
	access     atomic.Pointer[accessLists]

	Accounts  authkeeper.AccountKeeper
	Bank      bankkeeper.Keeper
	Staking   *stakingkeeper.Keeper
	Consensus consensuskeeper.Keeper
	FeeMarket feemarketkeeper.Keeper
	EVM       *evmkeeper.Keeper
	Mempool   *AdmittingMempool
}

var _ servertypes.Application = (*App)(nil)

// New returns the application over a database, loaded at its latest height. options are the merged
// contents of config.toml and app.toml; peers decides which node ids may connect.
func New(logger log.Logger, db dbm.DB, options servertypes.AppOptions, peers func(nodeID string) error) (*App, error) {
	evmChainID := cast.ToUint64(options.Get(flags.EVMChainID))
	encoding := NewEncoding(evmChainID)
	base := baseapp.NewBaseApp(Name, logger, db, encoding.TxConfig.TxDecoder(), server.DefaultBaseappOptions(options)...)
	base.SetInterfaceRegistry(encoding.InterfaceRegistry)
	base.SetTxEncoder(encoding.TxConfig.TxEncoder())
	app := &App{BaseApp: base, encoding: encoding, evmChainID: evmChainID}

	keys := storetypes.NewKVStoreKeys(authtypes.StoreKey, banktypes.StoreKey, stakingtypes.StoreKey,
		consensustypes.StoreKey, feemarkettypes.StoreKey, evmtypes.StoreKey)
	objectKeys := storetypes.NewObjectStoreKeys(banktypes.ObjectStoreKey, evmtypes.ObjectKey)
	app.newKeepers(logger, keys, objectKeys)
	app.newModules()
	app.MountKVStores(keys)
	app.MountObjectStores(objectKeys)

	app.SetInitChainer(app.initChain)
	app.SetPreBlocker(func(ctx sdk.Context, _ *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
		return app.modules.PreBlock(ctx)
	})
	app.SetBeginBlocker(app.modules.BeginBlock)
	app.SetEndBlocker(app.modules.EndBlock)
	// Without the EVM's runner its logs are numbered from 0 in each transaction instead of in the block.
	runner.SetRunner(base, txnrunner.NewDefaultRunner(encoding.TxConfig.TxDecoder()))
	app.SetIDPeerFilter(func(nodeID string) *abci.ResponseQuery { return peerAnswer(peers(nodeID)) })

	app.checkOther = app.newOtherHandler()
	anteHandler := app.newAnteHandler(cast.ToUint64(options.Get(flags.EVMMaxTxGasWanted)))
	app.SetAnteHandler(anteHandler)
	if err := app.newMempool(logger, options, anteHandler); err != nil {
		return nil, err
	}
	if err := app.LoadLatestVersion(); err != nil {
		return nil, fmt.Errorf("load the latest state: %w", err)
	}
	return app, app.resume()
}

// resume makes a restarted application answer for the state that it has, before the next block comes:
// otherwise the EVM's parameters are unset and the mempool believes in a block limit of zero. That block
// may be long in coming, if the network lacks validators.
func (app *App) resume() error {
	if app.LastBlockHeight() == 0 {
		return nil
	}
	ctx, err := app.latest(0, false)
	if err != nil {
		return fmt.Errorf("state of height %d: %w", app.LastBlockHeight(), err)
	}
	app.hydrate(ctx)
	app.Mempool.NotifyNewBlock() // the pool takes a first head for a placeholder,
	app.Mempool.NotifyNewBlock() // and the second for the chain's
	// The pool hears of heads in a goroutine that may not be listening yet: reset it directly.
	pool := app.Mempool.GetTxPool()
	pool.Reset(nil, app.Mempool.GetBlockchain().CurrentBlock())
	return nil
}

// latest returns a context of a committed height, 0 being the newest; the library's own refuses the
// newest between a restart and the next block.
func (app *App) latest(height int64, prove bool) (sdk.Context, error) {
	if height == 0 {
		if ctx, err := app.CreateQueryContext(0, prove); err == nil {
			return ctx, nil
		}
		height = app.LastBlockHeight()
	}
	ctx, err := app.CreateQueryContext(height, prove)
	if err != nil {
		return ctx, err
	}
	header := ctx.BlockHeader()
	if len(header.AppHash) == 0 { // not known after a restart; without one the pool believes in no state
		header.Height, header.Time, header.AppHash = height, ctx.BlockTime(), app.LastCommitID().Hash
	}
	return ctx.WithBlockHeader(header), nil
}

func (app *App) newKeepers(logger log.Logger, keys map[string]*storetypes.KVStoreKey, objectKeys map[string]*storetypes.ObjectStoreKey) {
	cdc := app.encoding.Codec
	app.evmStore = keys[evmtypes.StoreKey]
	// The administrator is consensus parameter authority.authority, in state. The keepers' own
	// authority is an address without a key: if the parameter were empty, nobody would be authorised.
	nobody := authtypes.NewModuleAddress("nobody")
	service := func(name string) *storetypes.KVStoreKey { return keys[name] }
	blocked := map[string]bool{}
	for name := range moduleAccounts {
		blocked[authtypes.NewModuleAddress(name).String()] = true
	}

	app.Consensus = consensuskeeper.NewKeeper(cdc, runtime.NewKVStoreService(service(consensustypes.StoreKey)), nobody.String(), runtime.EventService{})
	app.SetParamStore(app.Consensus.ParamsStore)
	app.Accounts = authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(service(authtypes.StoreKey)), authtypes.ProtoBaseAccount,
		moduleAccounts, evmaddress.NewEvmCodec(Bech32Prefix), Bech32Prefix, nobody.String())
	app.Bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(service(banktypes.StoreKey)), app.Accounts, blocked, nobody.String(), logger).
		WithObjStoreKey(objectKeys[banktypes.ObjectStoreKey])
	app.Staking = stakingkeeper.NewKeeper(cdc, runtime.NewKVStoreService(service(stakingtypes.StoreKey)), app.Accounts, app.Bank, nobody.String(),
		evmaddress.NewEvmCodec(Bech32Prefix+"valoper"), evmaddress.NewEvmCodec(Bech32Prefix+"valcons"))
	app.FeeMarket = feemarketkeeper.NewKeeper(cdc, nobody, keys[feemarkettypes.StoreKey])

	storeKeys := []storetypes.StoreKey{}
	for _, name := range []string{authtypes.StoreKey, banktypes.StoreKey, stakingtypes.StoreKey,
		consensustypes.StoreKey, feemarkettypes.StoreKey, evmtypes.StoreKey} {
		storeKeys = append(storeKeys, keys[name])
	}
	app.EVM = evmkeeper.NewKeeper(cdc, keys[evmtypes.StoreKey], objectKeys[evmtypes.ObjectKey], storeKeys, nobody,
		app.Accounts, app.Bank, app.Staking, app.FeeMarket, &app.Consensus, nil, app.evmChainID, "")
	app.EVM.WithStaticPrecompiles(precompiletypes.NewStaticPrecompiles().WithPraguePrecompiles())
}

func (app *App) newModules() {
	cdc := app.encoding.Codec
	evm := vm.NewAppModule(app.EVM, app.Accounts, app.Bank, evmaddress.NewEvmCodec(Bech32Prefix))
	app.hydrate = func(ctx sdk.Context) { evm.HydrateGlobals(ctx) }
	app.modules = module.NewManager(
		auth.NewAppModule(cdc, app.Accounts, nil, nil),
		bank.NewAppModule(cdc, app.Bank, app.Accounts, nil),
		staking.NewAppModule(cdc, app.Staking, app.Accounts, app.Bank, nil),
		consensus.NewAppModule(cdc, app.Consensus),
		feemarket.NewAppModule(app.FeeMarket),
		evm,
	)
	app.modules.SetOrderInitGenesis(authtypes.ModuleName, banktypes.ModuleName, stakingtypes.ModuleName,
		consensustypes.ModuleName, feemarkettypes.ModuleName, evmtypes.ModuleName)
	app.modules.SetOrderPreBlockers(authtypes.ModuleName, evmtypes.ModuleName)
	app.modules.SetOrderBeginBlockers(feemarkettypes.ModuleName, evmtypes.ModuleName, stakingtypes.ModuleName)
	app.modules.SetOrderEndBlockers(banktypes.ModuleName, stakingtypes.ModuleName, evmtypes.ModuleName, feemarkettypes.ModuleName)
	if err := app.modules.RegisterServices(module.NewConfigurator(cdc, app.MsgServiceRouter(), app.GRPCQueryRouter())); err != nil {
		panic(err) // a service registered twice: wrong wiring, found at the first start
	}
}

func (app *App) newMempool(logger log.Logger, options servertypes.AppOptions, anteHandler sdk.AnteHandler) error {
	pool := evmmempool.NewMempool(app.latest, logger, app.EVM, app.FeeMarket, app.encoding.TxConfig,
		evmmempool.NewTxRechecker(anteHandler, evmmempool.NewTxEncoder(app.encoding.TxConfig)),
		evmmempool.NewTxRechecker(anteHandler, evmmempool.NewTxEncoder(app.encoding.TxConfig)),
		evmserver.ResolveMempoolConfig(anteHandler, options, logger),
		evmserver.GetCosmosPoolMaxTx(options, logger))
	app.Mempool = &AdmittingMempool{Mempool: pool, admit: app.admitNow}
	app.SetMempool(app.Mempool)
	decode := app.encoding.TxConfig.TxDecoder()
	app.SetInsertTxHandler(app.Mempool.insertHandler(decode))
	app.SetReapTxsHandler(pool.NewReapTxsHandler())
	app.SetCheckTxHandler(app.Mempool.checkHandler(decode, evmserver.GetMempoolCheckTxTimeout(options, logger)))
	proposals := baseapp.NewDefaultProposalHandler(app.Mempool, app)
	proposals.SetSignerExtractionAdapter(evmmempool.NewEthSignerExtractionAdapter(sdkmempool.NewDefaultSignerExtractionAdapter()))
	app.SetPrepareProposal(proposals.PrepareProposalHandler())
	app.SetProcessProposal(proposals.ProcessProposalHandler())
	return nil
}

func (app *App) initChain(ctx sdk.Context, request *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(request.AppStateBytes, &state); err != nil {
		return nil, fmt.Errorf("app_state of the genesis is not a JSON object: %w", err)
	}
	var chain Chain
	if err := json.Unmarshal(state[Name], &chain); err != nil || chain.EVMChainID != app.evmChainID {
		return nil, fmt.Errorf("evm.evm-chain-id of app.toml is %d, the genesis says %d; run phr-chain configure", app.evmChainID, chain.EVMChainID)
	}
	return app.modules.InitGenesis(ctx, app.encoding.Codec, state)
}

// Encoding returns the chain's codecs.
func (app *App) Encoding() Encoding { return app.encoding }

// RegisterAPIRoutes does nothing: the REST API is not offered.
func (app *App) RegisterAPIRoutes(*api.Server, config.APIConfig) {}

// RegisterTxService offers transaction queries over ABCI, for the JSON-RPC server in this process.
func (app *App) RegisterTxService(clientCtx client.Context) {
	authtx.RegisterTxService(app.GRPCQueryRouter(), clientCtx, app.Simulate, app.encoding.InterfaceRegistry)
}

// RegisterTendermintService offers block queries over ABCI, for the JSON-RPC server in this process.
func (app *App) RegisterTendermintService(clientCtx client.Context) {
	cmtservice.RegisterTendermintService(clientCtx, app.GRPCQueryRouter(), app.encoding.InterfaceRegistry,
		server.NewCometABCIWrapper(app).Query)
}

// RegisterNodeService offers the node's configuration over ABCI.
func (app *App) RegisterNodeService(clientCtx client.Context, cfg config.Config) {
	nodeservice.RegisterNodeService(clientCtx, app.GRPCQueryRouter(), cfg, app.CommitMultiStore().EarliestVersion)
}

// Close ends the mempool and the base application; calling it again does nothing.
func (app *App) Close() (err error) {
	app.closed.Do(func() { err = errors.Join(app.Mempool.Close(), app.BaseApp.Close()) })
	return err
}
