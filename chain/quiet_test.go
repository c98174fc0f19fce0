package main_test

import (
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
)

// setEmptyBlocksInterval edits config.toml, which takes longer intervals than configure does.
func (n *testNode) setEmptyBlocksInterval(t *testing.T, interval string) {
	t.Helper()
	path := filepath.Join(n.home, "config", "config.toml")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	const before = `create_empty_blocks_interval = "1s"`
	require.Contains(t, string(content), before)
	content = []byte(strings.Replace(string(content), before, `create_empty_blocks_interval = "`+interval+`"`, 1))
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

// restart starts nodes again with an interval.
func restart(t *testing.T, nodes []*testNode, intervals ...string) {
	t.Helper()
	for i, node := range nodes {
		node.terminate(t)
		node.setEmptyBlocksInterval(t, intervals[i%len(intervals)])
	}
	for _, node := range nodes {
		node.start(t)
	}
}

// blockTimes are the header times of blocks, in seconds.
func (n *testNode) blockTimes(t *testing.T, from, to uint64) (times []uint64) {
	t.Helper()
	for height := from; height <= to; height++ {
		header, err := n.client(t).HeaderByNumber(t.Context(), new(big.Int).SetUint64(height))
		require.NoError(t, err)
		times = append(times, header.Time)
	}
	return times
}

// A time between blocks can only be longer on a slow machine: what is required here holds on any.
func TestQuietChain_NothingWaits_BlocksAreAnIntervalApart(t *testing.T) {
	nodes, _ := startFour(t)
	restart(t, nodes, "4s")
	nodes[0].reach(t, 3)
	start := nodes[0].height() + 1 // the first after a start come at once
	nodes[0].reach(t, start+3)
	times := nodes[0].blockTimes(t, start, start+3)
	require.GreaterOrEqual(t, times[3]-times[0], uint64(3*4-2), "three intervals, but for rounding: %v", times)
}

// With an interval that nobody waits for, a block shows that a transaction made it.
func TestQuietChain_TransactionComesToOneNode_LandsAtOnce(t *testing.T) {
	nodes, _ := startFour(t)
	restart(t, nodes, "1h")
	for _, node := range nodes {
		node.reach(t, 2)
	}
	next := nodes[0].nonce(t, member)
	land := func(running []*testNode) {
		hash, err := running[int(next)%len(running)].send(t, member, next, nil)
		require.NoError(t, err)
		next++
		blocks := map[common.Hash]bool{}
		for _, node := range running {
			blocks[node.receipt(t, hash).BlockHash] = true
		}
		require.Len(t, blocks, 1)
	}
	for range 8 { // of each proposer at least once
		land(nodes)
	}
	nodes[3].kill()
	for range 8 { // also where it was the dead one's turn
		land(nodes[:3])
	}
	height := nodes[0].height()
	nodes[3].start(t)
	nodes[3].reach(t, height)
	land(nodes)
	for _, node := range nodes { // all at once, as after a power cut
		node.kill()
	}
	for _, node := range nodes {
		node.start(t)
	}
	for _, node := range nodes {
		node.reach(t, height+1)
	}
	land(nodes)
}

// Organisations change the setting one after another: whoever has it and who has not make blocks together.
func TestQuietChain_ValidatorsWithDifferentIntervals_GoOn(t *testing.T) {
	nodes, _ := startFour(t)
	restart(t, nodes, "0s", "5s")
	for _, node := range nodes {
		node.reach(t, 2)
	}
	next, height := nodes[0].nonce(t, member), nodes[0].height()
	for _, node := range nodes {
		hash, err := node.send(t, member, next, nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, node.receipt(t, hash).Status)
		next++
	}
	for deadline := time.Now().Add(2 * time.Minute); nodes[0].height() < height+12; time.Sleep(100 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "the chain stands at %d", nodes[0].height())
	}
}
