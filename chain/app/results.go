package app

import (
	"context"

	abci "github.com/cometbft/cometbft/abci/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	"github.com/cosmos/cosmos-sdk/baseapp/txnrunner"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
)

// numberedRunner runs a block's transactions one after the other and then counts their logs through the
// block. The EVM counts them from 0 in each transaction; Ethereum's JSON-RPC promises a position in the
// block, by which whoever follows the chain tells two logs apart. The results are hashed into the next
// header, so every validator must number them alike.
type numberedRunner struct {
	inner *txnrunner.DefaultRunner
}

// Run implements sdk.TxRunner.
func (runner numberedRunner) Run(ctx context.Context, store storetypes.MultiStore, txs [][]byte, deliver sdk.DeliverTxFunc) ([]*abci.ExecTxResult, error) {
	results, err := runner.inner.Run(ctx, store, txs, deliver)
	if err != nil {
		return nil, err
	}
	return evmtypes.PatchTxResponses(results)
}
