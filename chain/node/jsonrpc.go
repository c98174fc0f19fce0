package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	ethtypes "github.com/ethereum/go-ethereum/core/types"
	ethfilters "github.com/ethereum/go-ethereum/eth/filters"
	ethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/cosmos/evm/rpc/backend"
	"github.com/cosmos/evm/rpc/namespaces/ethereum/eth"
	"github.com/cosmos/evm/rpc/namespaces/ethereum/eth/filters"
	ethnet "github.com/cosmos/evm/rpc/namespaces/ethereum/net"
	rpctypes "github.com/cosmos/evm/rpc/types"
	evmserver "github.com/cosmos/evm/server"
	evmconfig "github.com/cosmos/evm/server/config"
	evmservertypes "github.com/cosmos/evm/server/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/server"

	"phr.example/chain/app"
)

// ethAPI is the part of the library's eth namespace that the product uses: the exported methods of this
// type are the whole allowlist, since the JSON-RPC server offers exported methods and no others.
type ethAPI struct {
	inner *eth.PublicAPI
	logs  *filters.PublicFilterAPI
	index evmservertypes.EVMTxIndexer
	// behind says whether the index may lack what has been executed a while ago.
	behind func() bool
	heavy  work
}

// netAPI and web3API are the same for the two small namespaces.
type netAPI struct{ inner *ethnet.PublicAPI }

type web3API struct{ version string }

func (a *netAPI) Version() string { return a.inner.Version() }

func (a *netAPI) PeerCount() hexutil.Uint { return hexutil.Uint(a.inner.PeerCount()) }

func (a *web3API) ClientVersion() string { return a.version }

// notIndexed is how the library says that its index has no such transaction.
const notIndexed = "tx not found"

// indexed reads again, for a moment, what fails since the index of transactions is not yet at the newest
// block, which is visible a few milliseconds earlier.
func indexed[T any](read func() (T, error)) (T, error) {
	for deadline := time.Now().Add(indexTimeout); ; time.Sleep(readyInterval / 5) {
		answer, err := read()
		if err == nil || !strings.Contains(err.Error(), notIndexed) || time.Now().After(deadline) {
			return answer, err
		}
	}
}

func (a *ethAPI) ChainId() (*hexutil.Big, error) { return a.inner.ChainId() } //nolint:revive // eth_chainId

func (a *ethAPI) BlockNumber() (hexutil.Uint64, error) { return a.inner.BlockNumber() }

func (a *ethAPI) Syncing() (any, error) { return a.inner.Syncing() }

func (a *ethAPI) GasPrice() (*hexutil.Big, error) { return a.inner.GasPrice() }

func (a *ethAPI) MaxPriorityFeePerGas() (*hexutil.Big, error) { return a.inner.MaxPriorityFeePerGas() }

func (a *ethAPI) FeeHistory(ctx context.Context, count math.HexOrDecimal64, last ethrpc.BlockNumber, percentiles []float64) (*rpctypes.FeeHistoryResult, error) {
	return within(ctx, a.heavy, func() (*rpctypes.FeeHistoryResult, error) { return a.inner.FeeHistory(count, last, percentiles) })
}

func (a *ethAPI) GetBlockByNumber(number rpctypes.BlockNumber, full bool) (map[string]any, error) {
	return indexed(func() (map[string]any, error) { return a.inner.GetBlockByNumber(number, full) })
}

func (a *ethAPI) GetBlockByHash(hash common.Hash, full bool) (map[string]any, error) {
	return indexed(func() (map[string]any, error) { return a.inner.GetBlockByHash(hash, full) })
}

func (a *ethAPI) GetBlockTransactionCountByNumber(number rpctypes.BlockNumber) *hexutil.Uint {
	return a.inner.GetBlockTransactionCountByNumber(number)
}

func (a *ethAPI) GetBlockReceipts(ctx context.Context, block rpctypes.BlockNumberOrHash) ([]map[string]any, error) {
	return indexed(func() ([]map[string]any, error) {
		return within(ctx, a.heavy, func() ([]map[string]any, error) { return a.inner.GetBlockReceipts(ctx, block) })
	})
}

func (a *ethAPI) GetTransactionByHash(hash common.Hash) (*rpctypes.RPCTransaction, error) {
	return a.inner.GetTransactionByHash(hash)
}

// GetTransactionReceipt answers null at once for a transaction that is in no block; the library would
// wait up to a minute for one that is still in the mempool. While the index lacks blocks the answer is an
// error, since null would say that the transaction did not land.
func (a *ethAPI) GetTransactionReceipt(hash common.Hash) (map[string]any, error) {
	if _, err := a.index.GetByTxHash(hash); err != nil {
		if a.behind() || !strings.Contains(err.Error(), notIndexed) {
			return nil, &rpcError{internalError, fmt.Sprintf("this node's index of transactions is behind, ask again later: %s", err)}
		}
		return nil, nil // not mined
	}
	return a.inner.GetTransactionReceipt(hash)
}

func (a *ethAPI) GetTransactionCount(address common.Address, block rpctypes.BlockNumberOrHash) (*hexutil.Uint64, error) {
	return a.inner.GetTransactionCount(address, block)
}

func (a *ethAPI) GetBalance(address common.Address, block rpctypes.BlockNumberOrHash) (*hexutil.Big, error) {
	return a.inner.GetBalance(address, block)
}

func (a *ethAPI) GetCode(address common.Address, block rpctypes.BlockNumberOrHash) (hexutil.Bytes, error) {
	return a.inner.GetCode(address, block)
}

func (a *ethAPI) GetStorageAt(address common.Address, key string, block rpctypes.BlockNumberOrHash) (hexutil.Bytes, error) {
	return a.inner.GetStorageAt(address, key, block)
}

func (a *ethAPI) GetProof(ctx context.Context, address common.Address, keys []string, block rpctypes.BlockNumberOrHash) (*rpctypes.AccountResult, error) {
	return within(ctx, a.heavy, func() (*rpctypes.AccountResult, error) { return a.inner.GetProof(address, keys, block) })
}

func (a *ethAPI) Call(ctx context.Context, args evmtypes.TransactionArgs, block rpctypes.BlockNumberOrHash, overrides *json.RawMessage) (hexutil.Bytes, error) {
	if overrides != nil {
		return nil, errOverrides
	}
	return within(ctx, a.heavy, func() (hexutil.Bytes, error) { return a.inner.Call(args, block, nil) })
}

func (a *ethAPI) EstimateGas(ctx context.Context, args evmtypes.TransactionArgs, block *rpctypes.BlockNumberOrHash, overrides *json.RawMessage) (hexutil.Uint64, error) {
	if overrides != nil {
		return 0, errOverrides
	}
	return within(ctx, a.heavy, func() (hexutil.Uint64, error) { return a.inner.EstimateGas(args, block, nil) })
}

// GetLogs starts at block 1 when asked from block 0, which does not exist here and which the library
// would take for the latest block.
func (a *ethAPI) GetLogs(ctx context.Context, criteria ethfilters.FilterCriteria) ([]*ethtypes.Log, error) {
	if criteria.ToBlock != nil && criteria.ToBlock.Sign() == 0 {
		return []*ethtypes.Log{}, nil
	}
	if criteria.FromBlock != nil && criteria.FromBlock.Sign() == 0 {
		criteria.FromBlock = big.NewInt(1)
	}
	return within(ctx, a.heavy, func() ([]*ethtypes.Log, error) { return a.logs.GetLogs(ctx, criteria) })
}

func (a *ethAPI) SendRawTransaction(data hexutil.Bytes) (common.Hash, error) {
	return a.inner.SendRawTransaction(data)
}

// newJSONRPC returns the handler of the allowed methods, single and in batches.
func newJSONRPC(serverCtx *server.Context, clientCtx client.Context, config evmconfig.Config,
	back *backend.Backend, index evmservertypes.EVMTxIndexer, behind func() bool,
) (http.Handler, error) {
	rpcServer := ethrpc.NewServer()
	rpcServer.SetBatchLimits(config.JSONRPC.BatchRequestLimit, config.JSONRPC.BatchResponseMaxSize)
	rpcServer.SetHTTPBodyLimit(config.JSONRPC.HTTPBodyLimit)
	// The stream of new events (nil) serves subscriptions and filters, which are not offered.
	for namespace, service := range map[string]any{
		"eth":  &ethAPI{inner: eth.NewPublicAPI(serverCtx.Logger, back), logs: filters.NewPublicAPI(serverCtx.Logger, clientCtx, nil, back), index: index, behind: behind, heavy: newWork()},
		"net":  &netAPI{inner: ethnet.NewPublicAPI(serverCtx, clientCtx)},
		"web3": &web3API{version: Versions().ClientVersion()},
	} {
		if err := rpcServer.RegisterName(namespace, service); err != nil {
			return nil, fmt.Errorf("JSON-RPC namespace %s: %w", namespace, err)
		}
	}
	return withoutBrowsers(rpcServer), nil
}

// serveJSONRPC answers on the configured address until the context ends. Browsers are not served: no
// CORS headers, the library refuses content types that a form can send, and what names itself a browser is
// refused.
func serveJSONRPC(ctx context.Context, serverCtx *server.Context, clientCtx client.Context, config evmconfig.Config,
	index evmservertypes.EVMTxIndexer, behind func() bool, application *app.App,
) error {
	back := backend.NewBackend(serverCtx, clientCtx, index, application.Mempool, backend.WithLogger(serverCtx.Logger))
	handler, err := newJSONRPC(serverCtx, clientCtx, config, back, index, behind)
	if err != nil {
		return err
	}
	listener, err := evmserver.Listen(config.JSONRPC.Address, &config)
	if err != nil {
		return fmt.Errorf("JSON-RPC cannot listen on %s: %w", config.JSONRPC.Address, err)
	}
	httpServer := &http.Server{
		Handler:           http.MaxBytesHandler(handler, int64(config.JSONRPC.HTTPBodyLimit)),
		ReadHeaderTimeout: config.JSONRPC.HTTPTimeout, ReadTimeout: config.JSONRPC.HTTPTimeout,
		WriteTimeout: config.JSONRPC.HTTPTimeout, IdleTimeout: config.JSONRPC.HTTPIdleTimeout,
	}
	failed := make(chan error, 1)
	go func() { failed <- httpServer.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("JSON-RPC server: %w", err)
	case <-ctx.Done():
		ending, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		return httpServer.Shutdown(ending)
	}
}
