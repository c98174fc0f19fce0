package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	cmtlog "github.com/cometbft/cometbft/libs/log"

	"cosmossdk.io/log/v2"
)

// consensusEnded is why a node ends that takes part in no further block.
type consensusEnded struct{ cause string }

func (e *consensusEnded) Error() string {
	return fmt.Sprintf("consensus has failed and this node ends (look for CONSENSUS FAILURE in its log): %s", e.cause)
}

// haltWords are how the SDK says that the height of app.toml's halt-height is reached.
const haltWords = "halt per configuration"

// afterHalt returns nil for an end that halt-height asked for: it is no failure, and nothing should start
// the same program again.
func afterHalt(err error, logger log.Logger) error {
	if err != nil && strings.Contains(err.Error(), haltWords) {
		logger.Warn("halt-height of app.toml is reached: this program executes no further block; set it to 0 and start the next program")
		return nil
	}
	return err
}

// consensusWatch is CometBFT's logger. CometBFT survives a panic of its consensus (a full disk, a wrong
// application hash, halt-height) by logging it, and offers no other sign: the process would go on, and
// answer with an ever older head.
type consensusWatch struct {
	cmtlog.Logger
	ended context.CancelCauseFunc
}

func (w consensusWatch) With(keysAndValues ...any) cmtlog.Logger {
	return consensusWatch{w.Logger.With(keysAndValues...), w.ended}
}

func (w consensusWatch) Error(message string, keysAndValues ...any) {
	w.Logger.Error(message, keysAndValues...)
	if !strings.HasPrefix(message, "CONSENSUS FAILURE") {
		return
	}
	cause := "unknown"
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		if keysAndValues[i] == "err" {
			cause = fmt.Sprint(keysAndValues[i+1])
		}
	}
	w.ended(&consensusEnded{cause})
}

// endOf returns the failure that ended a context, if consensus did.
func endOf(ctx context.Context) error {
	var ended *consensusEnded
	if errors.As(context.Cause(ctx), &ended) {
		return ended
	}
	return nil
}
