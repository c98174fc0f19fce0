package node

import (
	"sync"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/consensus"
	consensustypes "github.com/cometbft/cometbft/consensus/types"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	cmtnode "github.com/cometbft/cometbft/node"
)

// timeout has the fields of CometBFT's timeoutInfo, which it does not export.
type timeout = struct {
	Duration time.Duration                `json:"duration"`
	Height   int64                        `json:"height"`
	Round    int32                        `json:"round"`
	Step     consensustypes.RoundStepType `json:"step"`
}

// ticking is consensus.TimeoutTicker, its unexported type a parameter.
type ticking[T any] interface {
	Start() error
	Stop() error
	Chan() <-chan T
	ScheduleTimeout(T)
	SetLogger(cmtlog.Logger)
}

// quietTicker is CometBFT's clock, but for one thing: when timeout_commit after a block is over, the next
// height begins only once a transaction waits, and after patience at the latest. This is a timeout_commit
// that depends on what waits: nothing but the time at which this node begins a height is decided here, and a
// proposal that comes earlier is voted on at once, as ever.
//
// CometBFT's own create_empty_blocks = false does not do: a mempool of the application never tells it of a
// transaction, and with state that changes in every block (the EVM keeps block hashes) it never waits.
type quietTicker[T interface{ ~timeout }] struct {
	ticking[T]
	waits    func() bool // whether a transaction waits
	patience time.Duration
	fired    chan T
	stopped  chan struct{}
	once     sync.Once
}

func newQuietTicker[T interface{ ~timeout }](inner ticking[T], waits func() bool, patience time.Duration) *quietTicker[T] {
	return &quietTicker[T]{ticking: inner, waits: waits, patience: patience, fired: make(chan T), stopped: make(chan struct{})}
}

// Chan returns the channel of what is due.
func (q *quietTicker[T]) Chan() <-chan T { return q.fired }

// Start begins to tick.
func (q *quietTicker[T]) Start() error {
	if err := q.ticking.Start(); err != nil {
		return err
	}
	go q.run()
	return nil
}

// Stop ends it; calling it again does nothing more than the library's ticker does.
func (q *quietTicker[T]) Stop() error {
	q.once.Do(func() { close(q.stopped) })
	return q.ticking.Stop()
}

func (q *quietTicker[T]) run() {
	look := time.NewTicker(quietLookInterval)
	defer look.Stop()
	var held *T
	var until time.Time
	started := false
	for {
		select {
		case <-q.stopped:
			return
		case due := <-q.ticking.Chan():
			if started && q.mayWait(due) {
				held, until = &due, time.Now().Add(q.patience)
				continue
			}
			started = true // the first height of a process begins at once: it shows that the chain lives
			if held != nil && timeout(due).Height >= timeout(*held).Height {
				held = nil // consensus went on without it: others proposed
			}
			if !q.tell(due) {
				return
			}
		case <-look.C:
			if held == nil || (time.Now().Before(until) && !q.waits()) {
				continue
			}
			if !q.tell(*held) {
				return
			}
			held = nil
		}
	}
}

// mayWait tells the beginning of a height, for which nobody waits, from the timeouts within one. JSON-RPC
// answers from the second block on: the first ones come at once.
func (q *quietTicker[T]) mayWait(due T) bool {
	return timeout(due).Step == consensustypes.RoundStepNewHeight && timeout(due).Height > firstQuietHeight
}

func (q *quietTicker[T]) tell(due T) bool {
	select {
	case q.fired <- due:
		return true
	case <-q.stopped:
		return false
	}
}

// takeEmptyBlocksInterval takes create_empty_blocks_interval out of CometBFT's configuration, which would
// wait for it without looking at what the application's mempool has. It returns how long after
// timeout_commit a height without transactions waits; 0 if it does not.
func takeEmptyBlocksInterval(config *cmtcfg.ConsensusConfig) time.Duration {
	patience := max(0, config.CreateEmptyBlocksInterval-config.TimeoutCommit)
	config.CreateEmptyBlocks, config.CreateEmptyBlocksInterval = true, 0
	return patience
}

// keepQuiet makes a node that was not started yet begin a height without transactions only after patience.
func keepQuiet(node *cmtnode.Node, waits func() bool, patience time.Duration, logger cmtlog.Logger) error {
	environment, err := node.ConfigureRPC() // the way that CometBFT offers to its consensus
	if err != nil {
		return err
	}
	clock := consensus.NewTimeoutTicker()
	clock.SetLogger(logger.With("module", "consensus"))
	environment.ConsensusState.(*consensus.State).SetTimeoutTicker(newQuietTicker(clock, waits, patience))
	return nil
}
