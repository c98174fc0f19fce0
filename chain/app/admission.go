package app

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethtypes "github.com/ethereum/go-ethereum/core/types"

	abci "github.com/cometbft/cometbft/abci/types"
	evmante "github.com/cosmos/evm/ante"
	evmmono "github.com/cosmos/evm/ante/evm"
	evmmempool "github.com/cosmos/evm/mempool"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	errorsmod "cosmossdk.io/errors"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
)

// Admission is checked at every door, each time against state: when a transaction reaches this node's
// mempool (from JSON-RPC, from a peer, from CometBFT's RPC), when it is rechecked after a block, when a
// block is proposed, when a proposal is judged, and when a block is executed.

// LargestGasLimit is the most gas that one Ethereum transaction may declare: blocks are filled by what is
// declared, so a block always has room for several senders. The contract's deployment fits, and so does a
// batch of 200 accesses.
const LargestGasLimit = 30_000_000

// admitEthereum refuses a transaction of a sender who is no member, a deployment by anyone who may not
// deploy, and the transaction types that would change code without deploying.
func admitEthereum(access *accessLists, sender common.Address, tx *ethtypes.Transaction) error {
	if (sender == common.Address{}) {
		return errorsmod.Wrap(sdkerrors.ErrUnauthorized, "the zero address sends no transactions")
	}
	mayDeploy := access.deployers[sender]
	if !mayDeploy && !access.members[sender] {
		return errorsmod.Wrapf(sdkerrors.ErrUnauthorized,
			"sender %s is not a member of this chain; ask the chain's administrator to add it (member-add)", sender)
	}
	if tx.To() == nil && !mayDeploy {
		return errorsmod.Wrapf(sdkerrors.ErrUnauthorized,
			"sender %s may not deploy contracts on this chain; only its administrator may", sender)
	}
	if tx.Gas() > LargestGasLimit {
		return errorsmod.Wrapf(sdkerrors.ErrInvalidRequest,
			"a gas limit of %d would keep others out of a block; at most %d is accepted", tx.Gas(), LargestGasLimit)
	}
	if !tx.Protected() {
		return errorsmod.Wrap(sdkerrors.ErrUnauthorized,
			"the transaction names no chain and could be repeated from another; sign it with the chain id (EIP-155)")
	}
	if tx.Type() == ethtypes.SetCodeTxType || tx.Type() == ethtypes.BlobTxType {
		return errorsmod.Wrapf(sdkerrors.ErrUnauthorized,
			"transactions of type %d are not accepted by this chain; send type 0, 1 or 2", tx.Type())
	}
	return nil
}

// admitOther refuses a non-EVM transaction that the chain's administrator does not sign.
func admitOther(administrator []byte, tx sdk.Tx) error {
	signed, ok := tx.(authsigning.Tx)
	if !ok {
		return errorsmod.Wrapf(sdkerrors.ErrUnauthorized, "transaction of unknown kind %T", tx)
	}
	signers, err := signed.GetSigners()
	if err != nil {
		return errorsmod.Wrapf(sdkerrors.ErrUnauthorized, "signers of the transaction: %s", err)
	}
	for _, signer := range signers {
		if sdk.AccAddress(signer).Equals(sdk.AccAddress(administrator)) {
			return nil
		}
	}
	return errorsmod.Wrapf(sdkerrors.ErrUnauthorized,
		"only the chain's administrator %s may send this transaction", common.BytesToAddress(administrator))
}

// administrator reads the administrator's address from the consensus parameters in state.
func (app *App) administrator(ctx sdk.Context) ([]byte, error) {
	params, err := app.Consensus.ParamsStore.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("consensus parameters: %w", err)
	}
	if params.Authority == nil || params.Authority.Authority == "" {
		return nil, fmt.Errorf("the chain has no administrator in its consensus parameters")
	}
	return app.encoding.AddressCodec.StringToBytes(params.Authority.Authority)
}

// admit decides on one transaction against the state of ctx; it verifies no signature (the ante
// handler does, and for Ethereum the sender is recovered from the signature here).
func (app *App) admit(ctx sdk.Context, tx sdk.Tx) error {
	messages := tx.GetMsgs()
	if len(messages) == 0 {
		return errorsmod.Wrap(sdkerrors.ErrInvalidRequest, "a transaction without a message")
	}
	for _, message := range messages {
		ethereum, ok := message.(*evmtypes.MsgEthereumTx)
		if !ok {
			continue
		}
		if len(messages) != 1 {
			return errorsmod.Wrap(sdkerrors.ErrInvalidRequest, "an Ethereum transaction must be alone")
		}
		transaction := ethereum.AsTransaction()
		if transaction == nil {
			return errorsmod.Wrap(sdkerrors.ErrInvalidRequest, "empty Ethereum transaction")
		}
		sender, err := ethtypes.Sender(ethtypes.LatestSigner(evmtypes.GetEthChainConfig()), transaction)
		if err != nil {
			return errorsmod.Wrapf(sdkerrors.ErrUnauthorized, "sender of the transaction: %s", err)
		}
		return admitEthereum(app.lists(ctx), sender, transaction)
	}
	administrator, err := app.administrator(ctx)
	if err != nil {
		return errorsmod.Wrap(sdkerrors.ErrUnauthorized, err.Error())
	}
	return admitOther(administrator, tx)
}

// admitNow decides against the latest committed state. A transaction that is no Ethereum one must have its
// signatures right here already: the pool's queue reads signers and keys without any check of its own, in a
// goroutine whose panic would end the process. What is malformed enough to panic here is refused.
func (app *App) admitNow(tx sdk.Tx) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = errorsmod.Wrapf(sdkerrors.ErrInvalidRequest, "malformed transaction: %v", cause)
		}
	}()
	ctx, err := app.latest(0, false)
	if err != nil || ctx.BlockHeight() < 2 { // the pool has its state from the first block's end on
		return errorsmod.Wrap(sdkerrors.ErrUnauthorized, "the chain has no block yet; send again in a moment")
	}
	if err := app.admit(ctx, tx); err != nil || isEthereum(tx) {
		return err
	}
	ctx, _ = ctx.CacheContext()
	_, err = app.checkOther(ctx, tx, false)
	return err
}

func isEthereum(tx sdk.Tx) bool {
	_, ok := tx.GetMsgs()[0].(*evmtypes.MsgEthereumTx)
	return ok
}

// newOtherHandler returns the library's checks of a transaction that is no Ethereum one.
func (app *App) newOtherHandler() sdk.AnteHandler {
	return sdk.ChainAnteDecorators(
		ante.NewSetUpContextDecorator(),
		ante.NewExtensionOptionsDecorator(nil),
		ante.NewValidateBasicDecorator(),
		ante.NewTxTimeoutHeightDecorator(),
		ante.NewValidateMemoDecorator(app.Accounts),
		ante.NewConsumeGasForTxSizeDecorator(app.Accounts),
		ante.NewDeductFeeDecorator(app.Accounts, app.Bank, nil, nil),
		ante.NewSetPubKeyDecorator(app.Accounts),
		ante.NewValidateSigCountDecorator(app.Accounts),
		ante.NewSigGasConsumeDecorator(app.Accounts, evmante.SigVerificationGasConsumer),
		ante.NewSigVerificationDecorator(app.Accounts, app.encoding.TxConfig.SignModeHandler()),
		ante.NewIncrementSequenceDecorator(app.Accounts),
	)
}

// newAnteHandler returns the checks of every transaction: admission first, then the library's own.
func (app *App) newAnteHandler(maxTxGasWanted uint64) sdk.AnteHandler {
	return func(ctx sdk.Context, tx sdk.Tx, simulate bool) (sdk.Context, error) {
		if err := app.admit(ctx, tx); err != nil {
			return ctx, err
		}
		if !isEthereum(tx) {
			return app.checkOther(ctx, tx, simulate)
		}
		evmParams, feeParams := app.EVM.GetParams(ctx), app.FeeMarket.GetParams(ctx)
		return sdk.ChainAnteDecorators(
			evmmono.NewEVMMonoDecorator(app.Accounts, app.FeeMarket, app.EVM, maxTxGasWanted, &evmParams, &feeParams),
		)(ctx, tx, simulate)
	}
}

// AdmittingMempool is cosmos/evm's mempool behind a door: that mempool itself checks admission only
// after it has answered, in its recheck, so an unlisted sender would get a hash instead of a refusal.
type AdmittingMempool struct {
	*evmmempool.Mempool
	admit func(sdk.Tx) error
}

// Insert adds an admitted transaction; the error is what eth_sendRawTransaction answers.
func (m *AdmittingMempool) Insert(ctx context.Context, tx sdk.Tx) error {
	if err := m.admit(tx); err != nil {
		return err
	}
	return m.Mempool.Insert(ctx, tx)
}

// InsertAsync adds an admitted transaction without waiting for the pool.
func (m *AdmittingMempool) InsertAsync(tx sdk.Tx) error {
	if err := m.admit(tx); err != nil {
		return err
	}
	return m.Mempool.InsertAsync(tx)
}

// insertHandler answers CometBFT's InsertTx: transactions that peers send.
func (m *AdmittingMempool) insertHandler(decode sdk.TxDecoder) sdk.InsertTxHandler {
	inner := m.NewInsertTxHandler(decode)
	return func(request *abci.RequestInsertTx) (*abci.ResponseInsertTx, error) {
		if tx, err := decode(request.GetTx()); err != nil || m.admit(tx) != nil {
			return &abci.ResponseInsertTx{Code: evmmempool.CodeTypeNoRetry}, nil
		}
		return inner(request)
	}
}

// checkHandler answers CometBFT's CheckTx: transactions from its own RPC.
func (m *AdmittingMempool) checkHandler(decode sdk.TxDecoder, timeout time.Duration) sdk.CheckTxHandler {
	inner := m.NewCheckTxHandler(decode, timeout)
	return func(runTx sdk.RunTx, request *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
		tx, err := decode(request.GetTx())
		if err == nil {
			err = m.admit(tx)
		}
		if err != nil {
			return evmmempool.ErrAsCheckTxResponse(err), nil
		}
		return inner(runTx, request)
	}
}

func peerAnswer(err error) *abci.ResponseQuery {
	if err != nil {
		return &abci.ResponseQuery{Code: sdkerrors.ErrUnauthorized.ABCICode(), Log: err.Error()}
	}
	return &abci.ResponseQuery{Code: abci.CodeTypeOK}
}
