package app

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	"cosmossdk.io/log/v2"

	"github.com/cosmos/cosmos-sdk/baseapp"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkmempool "github.com/cosmos/cosmos-sdk/types/mempool"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
)

// administratorsNumber is the sender of decisions in these tests; 1 and above send to the EVM.
const administratorsNumber = 0

// waitingTx is what the order is made of: a sender, a nonce, the gas limit, and so many bytes in a block.
type waitingTx struct {
	sdk.FeeTx
	sender byte
	nonce  uint64
	gas    uint64
	size   int
}

func (tx *waitingTx) GetGas() uint64 { return tx.gas }

func (tx *waitingTx) GetMsgs() []sdk.Msg {
	if tx.sender == administratorsNumber {
		return []sdk.Msg{&banktypes.MsgSend{}}
	}
	return []sdk.Msg{&evmtypes.MsgEthereumTx{From: []byte{tx.sender}}}
}

func (tx *waitingTx) bytes() []byte {
	content := append(binary.BigEndian.AppendUint64([]byte{tx.sender}, tx.nonce), make([]byte, tx.size)...)
	return content[:max(tx.size, 9)]
}

func (tx *waitingTx) String() string { return fmt.Sprintf("%d/%d", tx.sender, tx.nonce) }

// backlog is count transactions of one sender, in the order of their nonces.
func backlog(sender byte, count int, gas uint64, size int) []*waitingTx {
	made := make([]*waitingTx, count)
	for nonce := range made {
		made[nonce] = &waitingTx{sender: sender, nonce: uint64(nonce), gas: gas, size: size}
	}
	return made
}

// arrived lays backlogs one into the other, each in its own order, as a pool hands them out.
func arrived(random *rand.Rand, backlogs ...[]*waitingTx) []*waitingTx {
	all := []*waitingTx{}
	for len(backlogs) > 0 {
		at := random.IntN(len(backlogs))
		if len(backlogs[at]) == 0 {
			backlogs = append(backlogs[:at:at], backlogs[at+1:]...)
			continue
		}
		all = append(all, backlogs[at][0])
		backlogs[at] = backlogs[at][1:]
	}
	return all
}

// inOrder is what a proposal without bounds is offered.
func inOrder(waiting []*waitingTx) []*waitingTx {
	offered := []*waitingTx{}
	inProposalOrder(asTxs(waiting), func(tx sdk.Tx) bool {
		offered = append(offered, tx.(*waitingTx))
		return true
	})
	return offered
}

func asTxs(waiting []*waitingTx) []sdk.Tx {
	txs := make([]sdk.Tx, len(waiting))
	for at, tx := range waiting {
		txs[at] = tx
	}
	return txs
}

// anyBacklogs are those of up to six senders, the administrator among them or not, of any lengths and gas.
func anyBacklogs(random *rand.Rand) [][]*waitingTx {
	backlogs := [][]*waitingTx{}
	for sender := range byte(1 + random.IntN(6)) {
		made := backlog(sender+byte(random.IntN(2))*16, random.IntN(12), 0, 0)
		for _, tx := range made {
			tx.gas, tx.size = uint64(random.IntN(4))*uint64(random.IntN(30_000_000)), random.IntN(400)
		}
		backlogs = append(backlogs, made)
	}
	return backlogs
}

func TestOrder_OfAnyBacklogs_LosesAndDoublesNothingAndKeepsEachSendersOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 1))
	for range 2_000 {
		waiting := arrived(random, anyBacklogs(random)...)
		offered := inOrder(waiting)
		require.ElementsMatch(t, waiting, offered)
		next := map[byte]uint64{}
		for _, tx := range offered {
			require.Equal(t, next[tx.sender], tx.nonce, "%v", offered)
			next[tx.sender]++
		}
	}
}

func TestOrder_OfAnyBacklogs_BringsTheAdministratorsDecisionsFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 2))
	for range 2_000 {
		decisions := backlog(administratorsNumber, 1+random.IntN(4), 200_000, 0)
		waiting := arrived(random, append(anyBacklogs(random), decisions)...)
		others := 0
		for _, tx := range inOrder(waiting) {
			if tx.sender != administratorsNumber {
				others++
			}
			require.False(t, tx.sender == administratorsNumber && others > 0, "a decision after a member's transaction")
		}
	}
}

// Who is chosen has the least gas with it of all who still wait: nobody is given a second share before
// everybody who asked for no more has had one.
func TestOrder_OfAnyBacklogs_GivesTheNextPlaceToWhoeverHasTheLeastGasWithIt(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 3))
	for range 2_000 {
		waiting := arrived(random, anyBacklogs(random)...)
		left, given := map[byte][]*waitingTx{}, map[byte]uint64{}
		for _, tx := range waiting {
			if tx.sender != administratorsNumber {
				left[tx.sender] = append(left[tx.sender], tx)
			}
		}
		for _, tx := range inOrder(waiting) {
			if tx.sender == administratorsNumber {
				continue
			}
			with := given[tx.sender] + tx.gas
			for other, rest := range left {
				if len(rest) > 0 {
					require.LessOrEqual(t, with, given[other]+rest[0].gas, "%v before %v", tx, rest[0])
				}
			}
			given[tx.sender], left[tx.sender] = with, left[tx.sender][1:]
		}
	}
}

func TestOrder_OfSendersThatAskForAlike_TakesTurnsInTheOrderOfArrival(t *testing.T) {
	waiting := append(append(backlog(3, 2, 50, 0), backlog(1, 2, 50, 0)...), backlog(2, 1, 50, 0)...)
	require.Equal(t, "[3/0 1/0 2/0 3/1 1/1]", fmt.Sprint(inOrder(waiting)))
}

func TestOrder_TakerHasEnough_IsOfferedNothingMore(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 4))
	waiting := arrived(random, backlog(administratorsNumber, 3, 1, 0), backlog(1, 5, 1, 0), backlog(2, 5, 1, 0))
	for enough := 1; enough <= len(waiting); enough++ {
		offered := 0
		inProposalOrder(asTxs(waiting), func(sdk.Tx) bool { offered++; return offered < enough })
		require.Equal(t, enough, offered)
	}
}

func TestOrder_OfNothing_IsNothing(t *testing.T) {
	require.Empty(t, inOrder(nil))
}

// pool hands what waits to the library's proposal as the application's own does; it has no other use.
type pool struct {
	sdkmempool.ExtMempool
	waiting []*waitingTx
}

func (p *pool) SelectBy(_ context.Context, _ [][]byte, take func(sdk.Tx) bool) {
	inProposalOrder(asTxs(p.waiting), take)
}

type encoder struct{ baseapp.ProposalTxVerifier }

func (encoder) PrepareProposalVerifyTx(tx sdk.Tx) ([]byte, error) {
	return tx.(*waitingTx).bytes(), nil
}

type signers struct{}

func (signers) GetSigners(tx sdk.Tx) ([]sdkmempool.SignerData, error) {
	from := tx.(*waitingTx)
	return []sdkmempool.SignerData{sdkmempool.NewSignerData([]byte{from.sender}, from.nonce)}, nil
}

// proposal is the block that the library makes of what waits, within these bounds.
func proposal(t *testing.T, waiting []*waitingTx, maxGas, maxBytes int64) []*waitingTx {
	t.Helper()
	handler := baseapp.NewDefaultProposalHandler(&pool{waiting: waiting}, encoder{})
	handler.SetSignerExtractionAdapter(signers{})
	ctx := sdk.NewContext(nil, cmtproto.Header{}, false, log.NewNopLogger()).WithConsensusParams(
		cmtproto.ConsensusParams{Block: &cmtproto.BlockParams{MaxGas: maxGas, MaxBytes: maxBytes}})
	answer, err := handler.PrepareProposalHandler()(ctx, &abci.RequestPrepareProposal{MaxTxBytes: maxBytes})
	require.NoError(t, err)
	by := map[string]*waitingTx{}
	for _, tx := range waiting {
		by[string(tx.bytes())] = tx
	}
	block := []*waitingTx{}
	for _, content := range answer.Txs {
		require.Contains(t, by, string(content), "a transaction twice, or one that nobody sent")
		block = append(block, by[string(content)])
		delete(by, string(content))
	}
	return block
}

func sharesOf(block []*waitingTx) map[byte]int {
	shares := map[byte]int{}
	for _, tx := range block {
		shares[tx.sender]++
	}
	return shares
}

func TestProposal_OfAnyBacklogs_KeepsItsBoundsAndLeavesNoGapInAnySendersNonces(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 5))
	for range 1_000 {
		maxGas, maxBytes := int64(1+random.IntN(100_000_000)), int64(1+random.IntN(4_000))
		block := proposal(t, arrived(random, anyBacklogs(random)...), maxGas, maxBytes)
		gas, size, next := uint64(0), int64(0), map[byte]uint64{}
		for _, tx := range block {
			require.Equal(t, next[tx.sender], tx.nonce, "%v", block)
			next[tx.sender]++
			gas += tx.gas
			size += cmttypes.ComputeProtoSizeForTxs([]cmttypes.Tx{tx.bytes()})
		}
		require.LessOrEqual(t, gas, uint64(maxGas))
		require.LessOrEqual(t, size, maxBytes)
	}
}

func TestProposal_UnderAFlood_HasTheDecisionAndWhatTheOthersWait(t *testing.T) {
	flood := backlog(1, 2_000, 100_000, 100)
	waiting := append(append(flood, backlog(2, 5, 100_000, 100)...), backlog(administratorsNumber, 1, 200_000, 300)...)
	shares := sharesOf(proposal(t, waiting, 10_000_000, 4<<20))
	require.Equal(t, map[byte]int{administratorsNumber: 1, 2: 5, 1: 93}, shares)
}

func TestProposal_OfFloodsOfManySenders_IsSharedAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 6))
	waiting := arrived(random, backlog(1, 900, 50_000, 100), backlog(2, 300, 50_000, 100), backlog(3, 100, 50_000, 100))
	require.Equal(t, map[byte]int{1: 33, 2: 33, 3: 33}, sharesOf(proposal(t, waiting, 99*50_000, 4<<20)))
}

// Shares are of gas: whoever sends larger ones gets fewer of them.
func TestProposal_OfSendersWithUnlikeTransactions_SharesTheGasNotTheCount(t *testing.T) {
	random := rand.New(rand.NewPCG(2026, 7))
	waiting := arrived(random, backlog(1, 100, 3_000_000, 100), backlog(2, 100, 1_000_000, 100))
	require.Equal(t, map[byte]int{1: 10, 2: 30}, sharesOf(proposal(t, waiting, 60_000_000, 4<<20)))
}
