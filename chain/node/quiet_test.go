package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/consensus"
	consensustypes "github.com/cometbft/cometbft/consensus/types"
	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// clockInHand is a ticker whose timeouts a test lets fire.
type clockInHand struct{ due chan timeout }

func (c *clockInHand) Start() error            { return nil }
func (c *clockInHand) Stop() error             { return nil }
func (c *clockInHand) Chan() <-chan timeout    { return c.due }
func (c *clockInHand) ScheduleTimeout(timeout) {}
func (c *clockInHand) SetLogger(cmtlog.Logger) {}

type quietCase struct {
	*testing.T
	clock  *clockInHand
	waits  atomic.Bool
	looked chan struct{} // one for each look for a transaction
	ticker *quietTicker[timeout]
}

func newQuietCase(t *testing.T, patience time.Duration) *quietCase {
	t.Helper()
	c := &quietCase{T: t, clock: &clockInHand{make(chan timeout)}, looked: make(chan struct{})}
	waits := func() bool {
		select {
		case c.looked <- struct{}{}:
		default:
		}
		return c.waits.Load()
	}
	c.ticker = newQuietTicker(c.clock, waits, patience)
	require.NoError(t, c.ticker.Start())
	t.Cleanup(func() { require.NoError(t, c.ticker.Stop()) })
	return c
}

func at(height int64, step consensustypes.RoundStepType) timeout {
	return timeout{Height: height, Step: step}
}

// passes requires that consensus is told of a timeout as soon as it fires.
func (c *quietCase) passes(due timeout) {
	c.Helper()
	c.clock.due <- due
	require.Equal(c, due, <-c.ticker.Chan())
}

// isHeld requires that consensus is told nothing while the ticker looks for transactions.
func (c *quietCase) isHeld() {
	c.Helper()
	for range 3 {
		select {
		case due := <-c.ticker.Chan():
			c.Fatalf("told of %v", due)
		case <-c.looked:
		}
	}
}

func TestQuietTicker_NothingWaits_HeightBeginsWhenATransactionComes(t *testing.T) {
	c := newQuietCase(t, time.Hour)
	c.passes(at(7, consensustypes.RoundStepNewHeight)) // a process shows at once that the chain lives
	c.clock.due <- at(8, consensustypes.RoundStepNewHeight)
	c.isHeld()
	c.waits.Store(true)
	require.Equal(t, at(8, consensustypes.RoundStepNewHeight), <-c.ticker.Chan())
	c.passes(at(9, consensustypes.RoundStepNewHeight)) // more wait: timeout_commit alone counts
}

func TestQuietTicker_NothingComes_HeightBeginsAfterPatience(t *testing.T) {
	c := newQuietCase(t, time.Millisecond)
	for height := range int64(5) {
		c.passes(at(10+height, consensustypes.RoundStepNewHeight))
	}
}

func TestQuietTicker_FirstBlocksOfAChain_AreNotWaitedFor(t *testing.T) {
	c := newQuietCase(t, time.Hour)
	c.passes(at(1, consensustypes.RoundStepNewHeight))
	c.passes(at(2, consensustypes.RoundStepNewHeight))
	c.clock.due <- at(3, consensustypes.RoundStepNewHeight)
	c.isHeld()
}

func TestQuietTicker_TimeoutsWithinAHeight_AreNeverHeld(t *testing.T) {
	c := newQuietCase(t, time.Hour)
	c.passes(at(7, consensustypes.RoundStepPropose))
	for _, step := range []consensustypes.RoundStepType{consensustypes.RoundStepNewRound, consensustypes.RoundStepPropose,
		consensustypes.RoundStepPrevoteWait, consensustypes.RoundStepPrecommitWait} {
		c.passes(at(8, step))
	}
}

func TestQuietTicker_OthersProposeMeanwhile_TheHeldBeginningIsForgotten(t *testing.T) {
	c := newQuietCase(t, time.Hour)
	c.passes(at(7, consensustypes.RoundStepNewHeight))
	c.clock.due <- at(8, consensustypes.RoundStepNewHeight)
	c.isHeld()
	c.passes(at(7, consensustypes.RoundStepPrecommitWait)) // of a height that is over: nothing follows from it
	c.isHeld()
	c.passes(at(8, consensustypes.RoundStepPrevoteWait))
	c.waits.Store(true)
	c.passes(at(8, consensustypes.RoundStepPrecommitWait)) // and not the beginning of 8
	c.waits.Store(false)
	c.clock.due <- at(9, consensustypes.RoundStepNewHeight)
	c.isHeld()
}

func TestQuietTicker_OverCometBFTsOwn_IsOneOfIts(t *testing.T) {
	var ticker consensus.TimeoutTicker = newQuietTicker(consensus.NewTimeoutTicker(), func() bool { return false }, time.Hour)
	ticker.SetLogger(cmtlog.NewNopLogger())
	require.NoError(t, ticker.Start())
	require.NoError(t, ticker.Stop())
}

func TestTakeEmptyBlocksInterval_CometBFTIsLeftWithoutOne(t *testing.T) {
	for _, test := range []struct{ interval, commit, patience time.Duration }{
		{5 * time.Second, 250 * time.Millisecond, 4750 * time.Millisecond},
		{0, 250 * time.Millisecond, 0},
		{time.Second, 2 * time.Second, 0},
	} {
		config := cmtcfg.DefaultConsensusConfig()
		config.CreateEmptyBlocksInterval, config.TimeoutCommit = test.interval, test.commit
		require.Equal(t, test.patience, takeEmptyBlocksInterval(config))
		require.False(t, config.WaitForTxs())
		require.Equal(t, test.commit, config.TimeoutCommit)
	}
}
