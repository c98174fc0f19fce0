package app

import (
	"context"

	evmtypes "github.com/cosmos/evm/x/vm/types"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// line is what one sender has waiting, by nonce, and the gas of what it was given of this proposal so far.
type line struct {
	waiting []sdk.Tx
	gas     uint64
}

// after is the gas of the line once its next transaction is taken.
func (l *line) after() uint64 {
	if fee, ok := l.waiting[0].(sdk.FeeTx); ok {
		return l.gas + fee.GetGas()
	}
	return l.gas
}

// SelectBy offers what waits to a proposal, in this order: first the administrator's decisions, so that no
// load keeps a member in whom it removes; then always the next transaction of the sender who would have
// the least gas of this block with it, so that one sender's backlog does not stand before the others'.
// The library's own order is by price, of which there is none here, and by arrival.
func (m *AdmittingMempool) SelectBy(ctx context.Context, excluded [][]byte, take func(sdk.Tx) bool) {
	waiting := []sdk.Tx{}
	for iterator := m.Select(ctx, excluded); iterator != nil; iterator = iterator.Next() {
		waiting = append(waiting, iterator.Tx())
	}
	inProposalOrder(waiting, take)
}

// inProposalOrder calls take with each transaction until it returns false; each sender's come as they are.
func inProposalOrder(waiting []sdk.Tx, take func(sdk.Tx) bool) {
	lines, of := []*line{}, map[string]*line{}
	for _, tx := range waiting {
		ethereum, ok := tx.GetMsgs()[0].(*evmtypes.MsgEthereumTx)
		if !ok { // the administrator's: others' were refused at the door
			if !take(tx) {
				return
			}
			continue
		}
		sender := string(ethereum.From)
		if of[sender] == nil {
			of[sender] = &line{}
			lines = append(lines, of[sender])
		}
		of[sender].waiting = append(of[sender].waiting, tx)
	}
	for {
		var next *line
		for _, candidate := range lines {
			if len(candidate.waiting) > 0 && (next == nil || candidate.after() < next.after()) {
				next = candidate
			}
		}
		if next == nil {
			return
		}
		tx := next.waiting[0]
		next.gas, next.waiting = next.after(), next.waiting[1:]
		if !take(tx) {
			return
		}
	}
}
