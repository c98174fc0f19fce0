package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wait returns the exit code of a process that ends by itself.
func (n *testNode) wait(t *testing.T) int {
	t.Helper()
	ended := make(chan error, 1)
	process := n.process
	go func() { ended <- process.Wait() }()
	eventually(t, "the process ends", func() bool { return len(ended) == 1 })
	n.process = nil
	return process.ProcessState.ExitCode()
}

func (n *testNode) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(n.home + ".log")
	require.NoError(t, err)
	return string(content)
}

func TestConsensus_CannotWriteWhatItSigned_ProcessEndsWithTheReason(t *testing.T) {
	node := startSingle(t)
	state := filepath.Join(node.home, "data", "priv_validator_state.json")
	for failing := false; !failing; { // as a failing disk: the file cannot be replaced any more
		require.NoError(t, os.Rename(state, state+".kept"))
		failing = os.Mkdir(state, 0o700) == nil // else the validator has just written it again
	}
	require.Equal(t, 1, node.wait(t))
	lines := strings.Split(strings.TrimSpace(node.log(t)), "\n")
	require.Contains(t, lines[len(lines)-1], "phr-chain: consensus has failed")
	require.Contains(t, lines[len(lines)-1], "priv_validator_state.json")

	require.NoError(t, os.Remove(state))
	require.NoError(t, os.Rename(state+".kept", state))
	node.start(t)
	node.reach(t, 4)
}

func (n *testNode) setHaltHeight(t *testing.T, from, to string) {
	t.Helper()
	path := filepath.Join(n.home, "config", "app.toml")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	changed := strings.Replace(string(content), "halt-height = "+from+"\n", "halt-height = "+to+"\n", 1)
	require.NotEqual(t, string(content), changed)
	require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
}

func TestHaltHeight_IsReached_ProcessEndsWellAndTheNextProgramExecutesThatBlock(t *testing.T) {
	node := startSingle(t)
	node.terminate(t)
	node.setHaltHeight(t, "0", "12")
	node.start(t)
	require.Zero(t, node.wait(t), "nothing failed; whoever starts failed processes again leaves it")
	node.start(t)
	require.Zero(t, node.wait(t), "the same program ends at the same height again")
	require.Equal(t, 2, strings.Count(node.log(t), "halt-height of app.toml is reached"))
	node.setHaltHeight(t, "12", "0")
	node.start(t)
	node.reach(t, 14)
}

func TestJSONRPC_PortIsTaken_ProcessEndsWithTheReason(t *testing.T) {
	node := startSingle(t)
	node.terminate(t)
	listener, err := net.Listen("tcp", node.jsonRPC)
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	node.start(t)
	require.Equal(t, 1, node.wait(t))
	require.Contains(t, node.log(t), "JSON-RPC cannot listen on "+node.jsonRPC)
}
