package node

import (
	"context"
	"net/http"
	"runtime"
)

// work bounds how much of the machine JSON-RPC's heavy methods take at once: they run in the process that
// votes, for other members too.
type work chan struct{}

// newWork leaves half of the processors to consensus.
func newWork() work { return make(work, max(1, runtime.NumCPU()/2)) }

// within does something heavy when there is room, unless the caller has gone by then.
func within[T any](ctx context.Context, slots work, do func() (T, error)) (answer T, err error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	defer func() { <-slots }()
	return do()
}

// JSON-RPC's codes (section 5.1 of its specification).
const (
	invalidParams = -32602
	internalError = -32603
)

// rpcError is an answer with a code of its own.
type rpcError struct {
	code int
	text string
}

func (e *rpcError) Error() string { return e.text }

// ErrorCode is how the JSON-RPC library asks for the code.
func (e *rpcError) ErrorCode() int { return e.code }

var errOverrides = &rpcError{invalidParams, "state overrides are not offered"}

// withoutBrowsers refuses what a browser sends: a page may have given a name of its own this machine's address
// (DNS rebinding), and then the request is of the same origin to the browser. It names itself all the same.
func withoutBrowsers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		for _, mark := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
			if request.Header.Get(mark) != "" {
				http.Error(answer, "browsers are not served here", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(answer, request)
	})
}
