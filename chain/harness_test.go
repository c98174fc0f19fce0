package main_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethtypes "github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/stretchr/testify/require"

	"phr.example/chain/administration"
	"phr.example/chain/command"
)

// The test binary is also phr-chain itself: nodes run as real processes of it, so that they can be killed.
const runAsCommand = "PHR_CHAIN_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(runAsCommand) != "" {
		if err := command.Root().Execute(); err != nil {
			fmt.Fprintln(os.Stderr, "phr-chain: "+command.OneLine(err))
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const evmChainID = 7201

var signer = ethtypes.NewCancunSigner(big.NewInt(evmChainID))

func newKey(seed byte) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(append(make([]byte, 31), seed))
	if err != nil {
		panic(err)
	}
	return key
}

func addressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// run executes a phr-chain command in this process and returns what it printed.
func run(arguments ...string) (string, error) {
	root, out := command.Root(), &bytes.Buffer{}
	root.SetArgs(arguments)
	root.SetOut(out)
	root.SetErr(out)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func mustRun(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := run(arguments...)
	require.NoError(t, err, "phr-chain %s", strings.Join(arguments, " "))
	require.True(t, json.Valid([]byte(out)), out)
	return out
}

// eventually waits for a condition, at most a minute.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute in vain: %s", what)
		}
	}
}

type testNode struct {
	home, p2p, jsonRPC, cometRPC, id string
	process                          *exec.Cmd
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// newNode makes the keys of a node.
func newNode(t *testing.T, directory, name string) *testNode {
	t.Helper()
	node := &testNode{home: filepath.Join(directory, strings.ReplaceAll(name, " ", "-")), p2p: freeAddress(t), jsonRPC: freeAddress(t), cometRPC: freeAddress(t)}
	var identity struct {
		NodeID string `json:"node_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(mustRun(t, "init", "--home", node.home, "--name", name)), &identity))
	node.id = identity.NodeID
	return node
}

// configure makes nodes whose empty blocks come often enough for tests that wait for some.
func (n *testNode) configure(t *testing.T, genesis string, others []*testNode) {
	t.Helper()
	arguments := []string{"configure", "--home", n.home, "--genesis", genesis, "--replace-allowed-nodes", "--p2p-listen", n.p2p, "--json-rpc", n.jsonRPC, "--comet-rpc", n.cometRPC,
		"--empty-blocks-interval", "1s"}
	for _, other := range others {
		if other != n {
			arguments = append(arguments, "--peer", other.id+"@"+other.p2p)
		}
	}
	mustRun(t, arguments...)
}

func (n *testNode) start(t *testing.T) {
	t.Helper()
	logs, err := os.OpenFile(n.home+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	n.process = exec.Command(os.Args[0], "start", "--home", n.home)
	n.process.Env = append(os.Environ(), runAsCommand+"=1")
	n.process.Stdout, n.process.Stderr = logs, logs
	require.NoError(t, n.process.Start())
	require.NoError(t, logs.Close())
	t.Cleanup(n.kill)
}

// kill ends the process with SIGKILL; it may be ended already.
func (n *testNode) kill() {
	if n.process != nil {
		_ = n.process.Process.Kill() // it only fails when the process has ended
		_ = n.process.Wait()         // reports the signal
		n.process = nil
	}
}

// terminate ends the process with SIGTERM and expects it to end well.
func (n *testNode) terminate(t *testing.T) {
	t.Helper()
	require.NoError(t, n.process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, n.process.Wait(), "exit code after SIGTERM")
	n.process = nil
}

func (n *testNode) client(t *testing.T) *ethclient.Client {
	t.Helper()
	client, err := ethclient.Dial("http://" + n.jsonRPC)
	require.NoError(t, err)
	return client
}

func (n *testNode) height() uint64 {
	client, err := ethclient.Dial("http://" + n.jsonRPC)
	if err != nil {
		return 0
	}
	defer client.Close()
	height, err := client.BlockNumber(context.Background())
	if err != nil {
		return 0 // not up yet
	}
	return height
}

func (n *testNode) reach(t *testing.T, height uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("height %d of %s; its log is %s.log", height, n.home, n.home), func() bool { return n.height() >= height })
}

func (n *testNode) status(t *testing.T) administration.Status {
	t.Helper()
	var status administration.Status
	require.NoError(t, json.Unmarshal([]byte(mustRun(t, "status", "--home", n.home)), &status))
	return status
}

func (n *testNode) nonce(t *testing.T, key *ecdsa.PrivateKey) uint64 {
	t.Helper()
	nonce, err := n.client(t).NonceAt(context.Background(), addressOf(key), nil)
	require.NoError(t, err)
	return nonce
}

// send sends a zero-value transaction to oneself, or a deployment if there is code.
func (n *testNode) send(t *testing.T, key *ecdsa.PrivateKey, nonce uint64, code []byte) (common.Hash, error) {
	t.Helper()
	inner := &ethtypes.DynamicFeeTx{ChainID: big.NewInt(evmChainID), Nonce: nonce, GasTipCap: new(big.Int), GasFeeCap: new(big.Int), Gas: 21_000}
	if code == nil {
		to := addressOf(key)
		inner.To = &to
	} else {
		inner.Gas, inner.Data = 10_000_000, code
	}
	transaction, err := ethtypes.SignNewTx(key, signer, inner)
	require.NoError(t, err)
	return transaction.Hash(), n.client(t).SendTransaction(context.Background(), transaction)
}

func (n *testNode) receipt(t *testing.T, hash common.Hash) *ethtypes.Receipt {
	t.Helper()
	var receipt *ethtypes.Receipt
	eventually(t, "receipt of "+hash.Hex(), func() bool {
		var err error
		receipt, err = n.client(t).TransactionReceipt(context.Background(), hash)
		return err == nil
	})
	return receipt
}

// propose writes a proposal and returns its path and the signatures of these keys as submit's arguments.
func (n *testNode) propose(t *testing.T, action, subject string, keys ...*ecdsa.PrivateKey) (path string, signatures []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "proposal.json")
	mustRun(t, "propose", action, subject, "--home", n.home, "--out", path)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var proposal administration.Proposal
	require.NoError(t, json.Unmarshal(content, &proposal))
	for _, key := range keys {
		signature, err := crypto.Sign(common.HexToHash(proposal.Digest).Bytes(), key)
		require.NoError(t, err)
		signatures = append(signatures, "--signature", "0x"+hex.EncodeToString(signature))
	}
	return path, signatures
}

func (n *testNode) submit(path string, signatures []string) (string, error) {
	return run(append([]string{"submit", "--home", n.home, "--proposal", path}, signatures...)...)
}

// decide proposes, signs and submits; it returns the decision's block.
func (n *testNode) decide(t *testing.T, action, subject string, keys ...*ecdsa.PrivateKey) uint64 {
	t.Helper()
	path, signatures := n.propose(t, action, subject, keys...)
	answer, err := n.submit(path, signatures)
	require.NoError(t, err)
	var submitted administration.Submitted
	require.NoError(t, json.Unmarshal([]byte(answer), &submitted))
	return uint64(submitted.Height)
}
