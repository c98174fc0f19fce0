package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	coretypes "github.com/cometbft/cometbft/rpc/core/types"
	dbm "github.com/cosmos/cosmos-db"
	evmservertypes "github.com/cosmos/evm/server/types"

	"cosmossdk.io/log/v2"
)

// indexedKey keeps how far the index goes. It is outside the index's own prefixes (1 and 2), whose last
// entry is the last block with an Ethereum transaction.
var indexedKey = []byte{0xff, 'h'}

// blocks is the part of CometBFT's local client that indexing needs.
type blocks interface {
	Status(ctx context.Context) (*coretypes.ResultStatus, error)
	Block(ctx context.Context, height *int64) (*coretypes.ResultBlock, error)
	BlockResults(ctx context.Context, height *int64) (*coretypes.ResultBlockResults, error)
}

// follower indexes the Ethereum transactions of executed blocks; receipts are found through it. The
// library's own service ends its work at the first read that fails, without a word.
type follower struct {
	index    evmservertypes.EVMTxIndexer
	db       dbm.DB // the index's
	comet    blocks
	executed func() int64 // the last block whose results are stored
	patience time.Duration
	logger   log.Logger

	indexed atomic.Int64 // the last block that is indexed, once following has begun
}

// isBehind says whether so many executed blocks are not indexed that a transaction that is not found may
// well be in one of them.
func (f *follower) isBehind() bool { return f.executed()-f.indexed.Load() > indexLagBlocks }

// next returns the first block that is not indexed yet.
func (f *follower) next(ctx context.Context) (int64, error) {
	value, err := f.db.Get(indexedKey)
	if err != nil {
		return 0, err
	}
	if len(value) == 8 {
		return int64(binary.BigEndian.Uint64(value)) + 1, nil
	}
	last, err := f.index.LastIndexedBlock()
	if err != nil || last != -1 {
		return last + 1, err
	}
	status, err := f.comet.Status(ctx)
	if err != nil {
		return 0, err
	}
	return max(status.SyncInfo.EarliestBlockHeight, 1), nil
}

// follow indexes blocks as they are executed until the context ends, and calls caughtUp once, when the
// blocks are indexed that were there when it began. What fails is tried again; an error is returned when
// that goes on for longer than the follower's patience, since receipts would be missing from then on.
func (f *follower) follow(ctx context.Context, caughtUp func()) error {
	height, err := f.next(ctx)
	if err != nil {
		return fmt.Errorf("index of transactions: %w", err)
	}
	f.indexed.Store(height - 1)
	goal, failing := f.executed(), time.Time{}
	for ctx.Err() == nil {
		if height > goal && caughtUp != nil {
			caughtUp()
			caughtUp = nil
		}
		pause := indexInterval
		if height <= f.executed() {
			err = f.indexBlock(ctx, height)
			if err == nil {
				f.indexed.Store(height)
				height, failing = height+1, time.Time{}
				continue
			}
			if failing.IsZero() {
				failing = time.Now()
				f.logger.Error("a block cannot be indexed; tried again", "height", height, "error", err)
			}
			if time.Since(failing) > f.patience {
				return fmt.Errorf("block %d cannot be indexed for %s, receipts would be missing: %w", height, f.patience, err)
			}
			pause = indexRetryInterval
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

func (f *follower) indexBlock(ctx context.Context, height int64) error {
	block, err := f.comet.Block(ctx, &height)
	if err != nil {
		return err
	}
	if block.Block == nil {
		return fmt.Errorf("block %d is not stored", height)
	}
	if len(block.Block.Txs) > 0 {
		results, err := f.comet.BlockResults(ctx, &height)
		if err != nil {
			return err
		}
		if len(results.TxsResults) != len(block.Block.Txs) {
			return fmt.Errorf("block %d has %d transactions and %d results", height, len(block.Block.Txs), len(results.TxsResults))
		}
		if err := f.index.IndexBlock(block.Block, results.TxsResults); err != nil {
			return err
		}
	}
	// Written after the entries, into the same log: a crash that keeps this keeps them.
	return f.db.Set(indexedKey, binary.BigEndian.AppendUint64(nil, uint64(height)))
}
