package main_test

import (
	"context"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

var administrator, member, joiner, stranger = newKey(1), newKey(2), newKey(3), newKey(4)

// consentLedgerCode is the product's contract with its constructor's arguments.
func consentLedgerCode(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "contracts", "artifacts", "ConsentLedger.json"))
	require.NoError(t, err)
	var artifact struct {
		Bytecode string `json:"bytecode"`
	}
	require.NoError(t, json.Unmarshal(content, &artifact))
	code := common.FromHex(artifact.Bytecode)
	require.NotEmpty(t, code)
	code = append(code, common.LeftPadBytes(addressOf(administrator).Bytes(), 32)...)
	return append(code, common.LeftPadBytes([]byte{2}, 32)...)
}

// startSingle starts a validator that is a chain of its own, of member and of others.
func startSingle(t *testing.T, others ...common.Address) *testNode {
	t.Helper()
	node := newSingle(t, others...)
	node.start(t)
	node.reach(t, 2)
	return node
}

func newSingle(t *testing.T, others ...common.Address) *testNode {
	t.Helper()
	directory := t.TempDir()
	node := newNode(t, directory, "Hospital A")
	genesis := filepath.Join(directory, "genesis.json")
	arguments := []string{"genesis", "--chain-id", "phr-test", "--evm-chain-id", "7201", "--administrator", addressOf(administrator).Hex(),
		"--member", addressOf(member).Hex(), "--validator", filepath.Join(node.home, "validator.json"),
		"--genesis-time", time.Now().UTC().Format(time.RFC3339), "--out", genesis}
	for _, other := range others {
		arguments = append(arguments, "--member", other.Hex())
	}
	mustRun(t, arguments...)
	node.configure(t, genesis, nil)
	return node
}

func TestSingleValidator_LifeOfAChain(t *testing.T) {
	node := startSingle(t)
	ctx := context.Background()

	code := consentLedgerCode(t)
	_, err := node.send(t, stranger, 0, nil)
	require.ErrorContains(t, err, "is not a member of this chain")
	_, err = node.send(t, member, 0, code)
	require.ErrorContains(t, err, "may not deploy contracts on this chain")
	deployment, err := node.send(t, administrator, 0, code)
	require.NoError(t, err)
	deployed := node.receipt(t, deployment)
	require.EqualValues(t, 1, deployed.Status)

	t.Run("reads need no member, logs start at block 0", func(t *testing.T) {
		client := node.client(t)
		latest, err := client.HeaderByNumber(ctx, nil)
		require.NoError(t, err)
		require.Zero(t, latest.BaseFee.Sign())
		final, err := client.HeaderByNumber(ctx, big.NewInt(int64(rpc.FinalizedBlockNumber)))
		require.NoError(t, err)
		require.GreaterOrEqual(t, final.Number.Uint64(), deployed.BlockNumber.Uint64())
		logs, err := client.FilterLogs(ctx, ethereum.FilterQuery{FromBlock: new(big.Int), ToBlock: latest.Number, Addresses: []common.Address{deployed.ContractAddress}})
		require.NoError(t, err)
		require.Len(t, logs, len(deployed.Logs))
		none, err := client.FilterLogs(ctx, ethereum.FilterQuery{FromBlock: new(big.Int), ToBlock: new(big.Int)})
		require.NoError(t, err)
		require.Empty(t, none)
		selector := common.FromHex("0xf53d0a8e") // administrator()
		answer, err := client.CallContract(ctx, ethereum.CallMsg{To: &deployed.ContractAddress, Data: selector}, nil)
		require.NoError(t, err)
		require.Equal(t, addressOf(administrator), common.BytesToAddress(answer))
	})
	t.Run("JSON-RPC", func(t *testing.T) { testJSONRPC(t, node) })
	t.Run("hundreds wait in one account", func(t *testing.T) { testManyWaiting(t, node) })
	t.Run("members come and go", func(t *testing.T) { testMembership(t, node) })
	t.Run("proposals", func(t *testing.T) { testProposals(t, node) })

	height := node.height()
	node.kill()
	_, err = run("status", "--home", node.home)
	require.ErrorContains(t, err, "does not answer")
	testRestartWithoutBlocks(t, node, deployed)
	node.start(t)
	node.reach(t, height+1)
	require.Equal(t, deployed.BlockHash, node.receipt(t, deployment).BlockHash, "nothing committed is lost in a kill")
	node.terminate(t)
}

// testRestartWithoutBlocks starts the node as one whose network makes no blocks, by taking its power to
// vote away for a while: it must answer for the state that it has.
func testRestartWithoutBlocks(t *testing.T, node *testNode, deployed *types.Receipt) {
	keyFile := filepath.Join(node.home, "config", "priv_validator_key.json")
	key, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	state, err := os.ReadFile(filepath.Join(node.home, "data", "priv_validator_state.json"))
	require.NoError(t, err)
	other := newNode(t, t.TempDir(), "Bystander")
	foreign, err := os.ReadFile(filepath.Join(other.home, "config", "priv_validator_key.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(keyFile, foreign, 0o600))
	node.start(t)
	node.reach(t, deployed.BlockNumber.Uint64())
	height := node.height()
	answer, err := node.client(t).CallContract(t.Context(), ethereum.CallMsg{To: &deployed.ContractAddress, Data: common.FromHex("0xf53d0a8e")}, nil)
	require.NoError(t, err)
	require.Equal(t, addressOf(administrator), common.BytesToAddress(answer))
	_, err = node.client(t).EstimateGas(t.Context(), ethereum.CallMsg{From: addressOf(member), To: &deployed.ContractAddress})
	require.ErrorContains(t, err, "revert", "the contract answers, not the node")
	_, err = node.send(t, stranger, 0, nil)
	require.ErrorContains(t, err, "is not a member")
	_, err = node.send(t, member, node.nonce(t, member), nil)
	require.NoError(t, err, "accepted, though no block will take it")
	require.Equal(t, height, node.height())
	node.kill()
	require.NoError(t, os.WriteFile(keyFile, key, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(node.home, "data", "priv_validator_state.json"), state, 0o600))
}

func testJSONRPC(t *testing.T, node *testNode) {
	post := func(body string) (int, string) {
		response, err := http.Post("http://"+node.jsonRPC, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(content)
	}
	for _, method := range []string{"debug_traceTransaction", "personal_listAccounts", "txpool_content", "eth_accounts", "eth_sign",
		"eth_sendTransaction", "eth_newFilter", "eth_subscribe", "eth_createAccessList", "miner_start", "admin_peers", "net_listening", "web3_sha3", "rpc_modules"} {
		_, answer := post(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":[]}`)
		if method == "rpc_modules" { // the JSON-RPC library's own list of namespaces
			require.NotContains(t, answer, "debug")
			continue
		}
		require.True(t, strings.Contains(answer, "-32601") || strings.Contains(answer, "notifications not supported"), "%s: %s", method, answer)
	}
	var batch []struct {
		Result string
		Error  *struct{ Code int }
	}
	_, answer := post(`[{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]},{"jsonrpc":"2.0","id":2,"method":"net_version","params":[]},` +
		`{"jsonrpc":"2.0","id":3,"method":"web3_clientVersion","params":[]},{"jsonrpc":"2.0","id":4,"method":"net_peerCount","params":[]},{"jsonrpc":"2.0","id":5,"method":"debug_freeOSMemory","params":[]}]`)
	require.NoError(t, json.Unmarshal([]byte(answer), &batch), answer)
	require.Equal(t, "0x1c21", batch[0].Result)
	require.Equal(t, "7201", batch[1].Result)
	require.Contains(t, batch[2].Result, "phr-chain/")
	require.Equal(t, "0x0", batch[3].Result)
	require.Equal(t, -32601, batch[4].Error.Code)

	status, _ := post(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":["` + strings.Repeat("x", 6<<20) + `"]}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	_, answer = post(`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x` + strings.Repeat("1", 40) + `"},"latest",{"0x` + strings.Repeat("2", 40) + `":{"code":"0x00"}}]}`)
	require.Contains(t, answer, "-32602", "no state but the chain's own")
	_, answer = post(`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x` + strings.Repeat("1", 40) + `"},"latest",null]}`)
	require.Contains(t, answer, `"result":"0x"`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+node.jsonRPC, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", "http://"+node.jsonRPC)
	refused, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	require.Equal(t, http.StatusForbidden, refused.StatusCode, "a page of a browser")
	status, _ = post("not JSON")
	require.NotEqual(t, http.StatusInternalServerError, status)
	begin := time.Now()
	_, answer = post(`{"jsonrpc":"2.0","id":1,"method":"eth_getTransactionReceipt","params":["0x` + strings.Repeat("1", 64) + `"]}`)
	require.Contains(t, answer, `"result":null`)
	require.Less(t, time.Since(begin), time.Second, "an unknown transaction is answered at once")
}

func testManyWaiting(t *testing.T, node *testNode) {
	const many = 400
	first := node.nonce(t, member)
	// From the second on: all of them wait until the first comes.
	for nonce := first + 1; nonce < first+many; nonce++ {
		_, err := node.send(t, member, nonce, nil)
		require.NoError(t, err)
	}
	require.Equal(t, first, node.nonce(t, member))
	_, err := node.send(t, member, first, nil)
	require.NoError(t, err)
	eventually(t, "all waiting transactions are mined", func() bool { return node.nonce(t, member) == first+many })
}

func testMembership(t *testing.T, node *testNode) {
	_, err := node.send(t, joiner, 0, nil)
	require.ErrorContains(t, err, "is not a member")
	node.decide(t, "member-add", addressOf(joiner).Hex(), administrator)
	for nonce := range uint64(20) {
		_, err := node.send(t, joiner, nonce, nil)
		require.NoError(t, err, "a new member may have many waiting transactions from its first block on")
	}
	eventually(t, "the new member's transactions are mined", func() bool { return node.nonce(t, joiner) == 20 })
	require.Contains(t, node.status(t).Members, addressOf(joiner).Hex())
	_, err = run("propose", "member-add", addressOf(joiner).Hex(), "--home", node.home, "--out", filepath.Join(t.TempDir(), "p.json"))
	require.ErrorContains(t, err, "a member already")

	waiting, err := node.send(t, joiner, 21, nil)
	require.NoError(t, err)
	node.decide(t, "member-remove", addressOf(joiner).Hex(), administrator)
	_, err = node.send(t, joiner, 20, nil)
	require.ErrorContains(t, err, "is not a member")
	eventually(t, "what waited is dropped", func() bool {
		_, _, err := node.client(t).TransactionByHash(context.Background(), waiting)
		return err != nil
	})
	require.NotContains(t, node.status(t).Members, addressOf(joiner).Hex())
}

func testProposals(t *testing.T, node *testNode) {
	path, signatures := node.propose(t, "member-add", addressOf(joiner).Hex(), administrator)
	stale, staleSignatures := node.propose(t, "member-add", addressOf(stranger).Hex(), administrator)

	_, byMember := node.propose(t, "member-add", addressOf(joiner).Hex(), member)
	_, err := node.submit(path, byMember)
	require.ErrorContains(t, err, "expected one by the administrator")
	_, err = node.submit(path, []string{"--signature", "0x00"})
	require.ErrorContains(t, err, "65 bytes")

	content, err := os.ReadFile(path)
	require.NoError(t, err)
	altered := filepath.Join(t.TempDir(), "altered.json")
	var fields, other map[string]any
	require.NoError(t, json.Unmarshal(content, &fields))
	staleContent, err := os.ReadFile(stale)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(staleContent, &other))
	fields["transaction"] = other["transaction"]
	mixed, err := json.Marshal(fields)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(altered, mixed, 0o600))
	_, err = node.submit(altered, signatures)
	require.ErrorContains(t, err, "altered")

	first, err := node.submit(path, signatures)
	require.NoError(t, err)
	again, err := node.submit(path, signatures)
	require.NoError(t, err)
	require.Equal(t, first, again, "submitting twice is one decision")
	_, err = node.submit(stale, append(staleSignatures, "--wait", "5s"))
	require.Error(t, err, "a proposal made before another took effect is void")
	require.NotContains(t, node.status(t).Members, addressOf(stranger).Hex())

	for _, arguments := range [][]string{
		{"member-remove", addressOf(stranger).Hex()}, {"member-remove", addressOf(administrator).Hex()}, {"member-add", "0x12"},
		{"member-add", common.Address{}.Hex()}, {"validator-remove", "Hospital A"}, {"validator-remove", "Nobody"},
		{"validator-add", filepath.Join(node.home, "validator.json")}, {"validator-add", "/nonexistent"}, {"seize", "all"},
	} {
		_, err := run(append([]string{"propose", "--home", node.home, "--out", filepath.Join(t.TempDir(), "p.json")}, arguments...)...)
		require.Error(t, err, "%v", arguments)
	}
}
