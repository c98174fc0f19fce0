package main_test

import (
	"crypto/ecdsa"
	"encoding/hex"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	cmttypes "github.com/cometbft/cometbft/types"
)

var administrators = []*ecdsa.PrivateKey{newKey(11), newKey(12), newKey(13)}

// startFour starts four validators whose administrator is two of three keys; every organisation makes
// the genesis itself.
func startFour(t *testing.T) (nodes []*testNode, genesis string) {
	t.Helper()
	directory := t.TempDir()
	arguments := []string{"genesis", "--chain-id", "phr-test", "--evm-chain-id", "7201", "--administrator-multisig", "2",
		"--deployer", addressOf(administrator).Hex(), "--member", addressOf(member).Hex(), "--genesis-time", time.Now().UTC().Format(time.RFC3339)}
	for _, key := range administrators {
		arguments = append(arguments, "--administrator-key", hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey)))
	}
	for _, name := range []string{"Hospital A", "Clinic B", "Lab C", "Centre D"} {
		node := newNode(t, directory, name)
		nodes = append(nodes, node)
		arguments = append(arguments, "--validator", filepath.Join(node.home, "validator.json"))
	}
	genesis = filepath.Join(directory, "genesis.json")
	mustRun(t, append(arguments, "--out", genesis)...)
	for _, node := range nodes {
		node.configure(t, genesis, nodes)
	}
	for _, node := range nodes {
		node.start(t)
	}
	for _, node := range nodes {
		node.reach(t, 2)
	}
	return nodes, genesis
}

// committed returns who is a validator of the newest block, and who of them signed it in time to be in
// the commit (which is made as soon as two thirds have signed), by the address of the consensus key.
func (n *testNode) committed(t *testing.T) (validators, signed []string) {
	t.Helper()
	client, err := rpchttp.New("http://"+n.cometRPC, "/websocket")
	require.NoError(t, err)
	commit, err := client.Commit(t.Context(), nil)
	require.NoError(t, err)
	for _, signature := range commit.Commit.Signatures {
		if signature.BlockIDFlag == cmttypes.BlockIDFlagCommit {
			signed = append(signed, signature.ValidatorAddress.String())
		}
	}
	answer, err := client.Validators(t.Context(), &commit.Height, nil, nil)
	require.NoError(t, err)
	for _, validator := range answer.Validators {
		validators = append(validators, validator.Address.String())
	}
	return validators, signed
}

// addressOf returns the address of a validator's consensus key.
func (n *testNode) addressOf(t *testing.T, name string) string {
	t.Helper()
	for _, validator := range n.status(t).Validators {
		if validator.Name == name {
			return validator.Address
		}
	}
	t.Fatalf("no validator is named %s", name)
	return ""
}

func TestFourValidators_LifeOfANetwork(t *testing.T) {
	nodes, genesis := startFour(t)
	first := nodes[0]
	require.Len(t, first.status(t).Validators, 4)
	eventually(t, "all are connected", func() bool { return len(first.status(t).Peers) == 3 })
	require.Equal(t, first.status(t).GenesisSHA256, nodes[3].status(t).GenesisSHA256)

	// The fifth has the genesis and knows all addresses, but nobody has put its node id on a list.
	fifth := newNode(t, filepath.Dir(genesis), "Insurer E")
	fifth.configure(t, genesis, nodes)
	fifth.start(t)

	t.Run("administrator of two of three", func(t *testing.T) { testTwoOfThree(t, first) })

	t.Run("an unknown node neither joins nor syncs", func(t *testing.T) {
		first.reach(t, first.height()+10)
		require.Zero(t, fifth.height())
		for _, node := range nodes {
			require.NotContains(t, node.status(t).Peers, fifth.id)
		}
	})
	t.Run("a fifth validator comes, another goes", func(t *testing.T) { testValidators(t, nodes, fifth) })
	t.Run("all are killed under load", func(t *testing.T) { testKillAll(t, append(nodes[1:], fifth)) })
}

func testTwoOfThree(t *testing.T, node *testNode) {
	path, signatures := node.propose(t, "member-add", addressOf(joiner).Hex(), administrators[2], administrators[0])
	_, err := node.submit(path, signatures[:2])
	require.ErrorContains(t, err, "needs 2")
	_, err = node.submit(path, append(signatures[:2:2], signatures[:2]...))
	require.ErrorContains(t, err, "by the same key")
	_, foreign := node.propose(t, "member-add", addressOf(joiner).Hex(), administrators[1], stranger)
	_, err = node.submit(path, foreign)
	require.ErrorContains(t, err, "not a key of the administrator")
	require.NotContains(t, node.status(t).Members, addressOf(joiner).Hex())
	_, err = node.submit(path, signatures)
	require.NoError(t, err)
	require.Contains(t, node.status(t).Members, addressOf(joiner).Hex())
	_, err = node.send(t, joiner, 0, nil)
	require.NoError(t, err)
	deployment, err := node.send(t, administrator, 0, common.FromHex("0x60006000f3"))
	require.NoError(t, err, "the deployer deploys")
	require.EqualValues(t, 1, node.receipt(t, deployment).Status)
}

func genesisOf(node *testNode) string { return filepath.Join(node.home, "config", "genesis.json") }

func testValidators(t *testing.T, nodes []*testNode, fifth *testNode) {
	for _, node := range nodes { // their lists are read again, they are not restarted
		node.configure(t, genesisOf(node), append(nodes, fifth))
	}
	fifth.reach(t, nodes[0].height())
	eventually(t, "the fifth has caught up", func() bool { return !fifth.status(t).CatchingUp })
	nodes[0].decide(t, "validator-add", filepath.Join(fifth.home, "validator.json"), administrators[0], administrators[1])
	require.Len(t, nodes[0].status(t).Validators, 5)
	fifthAddress, firstAddress := nodes[0].addressOf(t, "Insurer E"), nodes[0].addressOf(t, "Hospital A")
	eventually(t, "the fifth signs", func() bool {
		validators, signed := nodes[1].committed(t)
		return len(validators) == 5 && slices.Contains(signed, fifthAddress)
	})

	nodes[1].decide(t, "validator-remove", "Hospital A", administrators[1], administrators[2])
	require.Len(t, nodes[1].status(t).Validators, 4)
	eventually(t, "the first is no validator any more", func() bool {
		validators, _ := nodes[1].committed(t)
		return len(validators) == 4 && !slices.Contains(validators, firstAddress)
	})
	for _, node := range append(nodes[1:], fifth) { // and no longer a node of the network: nobody is restarted
		node.configure(t, genesisOf(node), append(nodes[1:], fifth))
	}
	eventually(t, "the first is cut off", func() bool { return len(nodes[0].status(t).Peers) == 0 })
	nodes[0].terminate(t)
	fifth.reach(t, nodes[1].height()+3)
	_, err := run("propose", "validator-add", filepath.Join(fifth.home, "validator.json"), "--home", fifth.home, "--out", filepath.Join(t.TempDir(), "p.json"))
	require.ErrorContains(t, err, "a validator already")

	nodes[1].decide(t, "validator-add", filepath.Join(nodes[0].home, "validator.json"), administrators[0], administrators[2])
	require.Len(t, nodes[1].status(t).Validators, 5, "who was removed can come back")
	nodes[1].decide(t, "validator-remove", "Hospital A", administrators[1], administrators[2])
}

func testKillAll(t *testing.T, nodes []*testNode) {
	seen := map[common.Hash]common.Hash{}
	next := nodes[0].nonce(t, member)
	for range 20 {
		hashes := []common.Hash{}
		for range 5 {
			hash, err := nodes[0].send(t, member, next, nil)
			require.NoError(t, err)
			hashes, next = append(hashes, hash), next+1
		}
		if len(seen) < 50 { // the last ones are in flight when the power goes
			for _, hash := range hashes {
				seen[hash] = nodes[0].receipt(t, hash).BlockHash
			}
		}
	}
	height := nodes[0].height()
	for _, node := range nodes {
		node.kill()
	}
	for _, node := range nodes {
		node.start(t)
	}
	for _, node := range nodes {
		node.reach(t, height+3)
		for hash, block := range seen {
			require.Equal(t, block, node.receipt(t, hash).BlockHash, "what was seen in a block stays in that block")
		}
	}
}
