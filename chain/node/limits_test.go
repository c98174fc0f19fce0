package node

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	rpctypes "github.com/cosmos/evm/rpc/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"
)

func TestWithin_ManyCallers_NeverMoreAtOnceThanThereIsRoom(t *testing.T) {
	slots := make(work, 2)
	var running, most atomic.Int64
	entered, leave := make(chan struct{}, 9), make(chan struct{})
	var callers sync.WaitGroup
	for range 9 {
		callers.Go(func() {
			_, err := within(context.Background(), slots, func() (int, error) {
				if now := running.Add(1); now > most.Load() {
					most.Store(now)
				}
				entered <- struct{}{}
				<-leave
				running.Add(-1)
				return 0, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	<-entered
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := within(gone, slots, func() (int, error) { t.Error("its caller had gone"); return 0, nil })
	require.ErrorIs(t, err, context.Canceled)
	close(leave)
	callers.Wait()
	require.EqualValues(t, 2, most.Load())
	require.Empty(t, slots, "every place is given back")
}

func TestCalls_WithStateOverrides_AreRefused(t *testing.T) {
	api, overrides := &ethAPI{heavy: newWork()}, json.RawMessage("{}")
	_, err := api.Call(t.Context(), evmtypes.TransactionArgs{}, rpctypes.BlockNumberOrHash{}, &overrides)
	require.ErrorContains(t, err, "overrides")
	_, err = api.EstimateGas(t.Context(), evmtypes.TransactionArgs{}, nil, &overrides)
	require.ErrorContains(t, err, "overrides")
}

func TestAttack_PageOfABrowserAsksJSONRPC_IsRefusedUnderWhateverName(t *testing.T) {
	reached := 0
	handler := withoutBrowsers(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	for mark, value := range map[string]string{"Origin": "http://rebound.example:8545", "Sec-Fetch-Site": "same-origin"} {
		request := httptest.NewRequest(http.MethodPost, "http://rebound.example:8545/", nil)
		request.Header.Set(mark, value)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		require.Equal(t, http.StatusForbidden, answer.Code, mark)
	}
	require.Zero(t, reached)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "http://seoul.example/", nil))
	require.Equal(t, 1, reached, "a member's machine through the proxy")
}
