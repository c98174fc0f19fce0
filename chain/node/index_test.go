package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	abci "github.com/cometbft/cometbft/abci/types"
	coretypes "github.com/cometbft/cometbft/rpc/core/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/evm/indexer"

	"cosmossdk.io/log/v2"

	"github.com/cosmos/cosmos-sdk/client"
)

var errRead = errors.New("could not find results for this height")

// store is a chain whose blocks have one transaction each, and whose results cannot be read at times.
type store struct {
	height   atomic.Int64
	failures atomic.Int64 // reads of results that fail from now on
	read     []int64      // the results that were read
}

func (s *store) Status(context.Context) (*coretypes.ResultStatus, error) {
	return &coretypes.ResultStatus{SyncInfo: coretypes.SyncInfo{EarliestBlockHeight: 1, LatestBlockHeight: s.height.Load()}}, nil
}

func (s *store) Block(_ context.Context, height *int64) (*coretypes.ResultBlock, error) {
	return &coretypes.ResultBlock{Block: &cmttypes.Block{Header: cmttypes.Header{Height: *height}, Data: cmttypes.Data{Txs: cmttypes.Txs{{1}}}}}, nil
}

func (s *store) BlockResults(_ context.Context, height *int64) (*coretypes.ResultBlockResults, error) {
	if s.failures.Add(-1) >= 0 {
		return nil, errRead
	}
	s.read = append(s.read, *height)
	return &coretypes.ResultBlockResults{Height: *height, TxsResults: []*abci.ExecTxResult{{Code: 1}}}, nil
}

func followStore(blocks *store, db dbm.DB) *follower {
	return &follower{
		index: indexer.NewKVIndexer(db, log.NewNopLogger(), client.Context{}), db: db, comet: blocks, executed: blocks.height.Load,
		patience: time.Minute, logger: log.NewNopLogger(),
	}
}

func run(f *follower) (end func() error, caughtUp chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	caughtUp, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- f.follow(ctx, func() { close(caughtUp) }) }()
	return func() error { cancel(); return <-ended }, caughtUp
}

func TestIndex_ReadFailsForAWhile_NoBlockIsLeftOut(t *testing.T) {
	blocks, db := &store{}, dbm.NewMemDB()
	blocks.height.Store(3)
	blocks.failures.Store(2)
	followed := followStore(blocks, db)
	end, caughtUp := run(followed)
	<-caughtUp
	blocks.failures.Store(1)
	blocks.height.Store(25)
	require.Eventually(t, func() bool { return followed.indexed.Load() == 25 }, time.Minute, time.Millisecond)
	require.False(t, followed.isBehind())
	require.NoError(t, end())
	want := []int64{}
	for height := range int64(25) {
		want = append(want, height+1)
	}
	require.Equal(t, want, blocks.read, "each block once, in order")

	blocks.read = nil
	blocks.height.Store(27)
	again := followStore(blocks, db)
	end, caughtUp = run(again)
	<-caughtUp
	require.NoError(t, end())
	require.Equal(t, []int64{26, 27}, blocks.read, "a restart goes on where the index ends")
}

func TestIndex_ReadKeepsFailing_EndsWithTheReason(t *testing.T) {
	blocks := &store{}
	blocks.height.Store(40)
	blocks.failures.Store(1 << 40)
	followed := followStore(blocks, dbm.NewMemDB())
	followed.patience = 0
	err := followed.follow(context.Background(), func() { t.Error("it has not caught up") })
	require.ErrorIs(t, err, errRead)
	require.ErrorContains(t, err, "block 1")
	require.True(t, followed.isBehind(), "a receipt that is not found is no answer")
}
