package app_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	abci "github.com/cometbft/cometbft/abci/types"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// mutated returns a transaction with some of its bytes changed, put in, left out or doubled.
func mutated(random *rand.Rand, transaction []byte) []byte {
	changed := append([]byte{}, transaction...)
	for range 1 + random.IntN(4) {
		at := random.IntN(len(changed))
		switch random.IntN(4) {
		case 0:
			changed[at] ^= byte(1 << random.IntN(8))
		case 1:
			changed[at] = byte(random.IntN(256))
		case 2:
			changed = append(changed[:at:at], changed[at+random.IntN(len(changed)-at):]...)
		case 3:
			upTo := at + random.IntN(min(64, len(changed)-at))
			changed = append(append(changed[:upTo:upTo], changed[at:upTo]...), changed[upTo:]...)
		}
		if len(changed) == 0 {
			return []byte{0}
		}
	}
	return changed
}

func TestAttack_MutatedTransactionsOfANode_AreRefusedAndEndNoProcess(t *testing.T) {
	c := start(t)
	random := rand.New(rand.NewPCG(2026, 11))
	decode := c.Encoding().TxConfig.TxDecoder()
	// Of Ethereum transactions those that are refused as they are: one whose envelope alone is changed is the same
	// transaction, and the pool takes no more of it than that.
	for _, valid := range [][]byte{
		c.cosmos(t, []sdk.Msg{send(administrator, member)}, administrator), c.transfer(t, stranger), c.deployment(t, member, logger),
	} {
		for range 4_000 {
			transaction := mutated(random, valid)
			if string(transaction) == string(valid) {
				continue
			}
			inserted, err := c.InsertTx(&abci.RequestInsertTx{Tx: transaction})
			require.NoError(t, err)
			require.NotZero(t, inserted.Code, "%x", transaction)
			checked, err := c.CheckTx(&abci.RequestCheckTx{Tx: transaction, Type: abci.CheckTxType_New})
			require.NoError(t, err)
			require.NotZero(t, checked.Code, "%x", transaction)
			if tx, err := decode(transaction); err == nil {
				require.Error(t, c.Mempool.Insert(context.Background(), tx), "%x", transaction)
			}
		}
	}
	require.Never(t, func() bool { return c.Mempool.CountTx() > 0 }, 300*time.Millisecond, 50*time.Millisecond)
}
