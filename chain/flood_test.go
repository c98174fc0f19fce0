package main_test

import (
	"context"
	"crypto/ecdsa"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	ethtypes "github.com/ethereum/go-ethereum/core/types"
	"github.com/stretchr/testify/require"
)

// sendHeavy sends a transaction that declares the most gas that is accepted, and uses little of it.
func (n *testNode) sendHeavy(t *testing.T, key *ecdsa.PrivateKey, nonce uint64) common.Hash {
	t.Helper()
	to := addressOf(key)
	transaction, err := ethtypes.SignNewTx(key, signer, &ethtypes.DynamicFeeTx{ChainID: big.NewInt(evmChainID), Nonce: nonce,
		GasTipCap: new(big.Int), GasFeeCap: new(big.Int), Gas: 30_000_000, To: &to})
	require.NoError(t, err)
	require.NoError(t, n.client(t).SendTransaction(context.Background(), transaction))
	return transaction.Hash()
}

func TestAttack_MemberFloodsWithHeavyTransactions_OthersGoOnAndItIsRemoved(t *testing.T) {
	const flood, soon = 300, 25 // the flood fills 100 blocks, of a second each so that a busy machine keeps pace
	node := newSingle(t, addressOf(joiner))
	mustRun(t, "configure", "--home", node.home, "--genesis", genesisOf(node), "--commit-timeout", "1s")
	node.start(t)
	node.reach(t, 2)
	for nonce := range uint64(flood) {
		node.sendHeavy(t, member, nonce)
	}
	before := node.height()
	hashes := []common.Hash{}
	for nonce := range uint64(5) {
		hashes = append(hashes, node.sendHeavy(t, joiner, nonce))
	}
	for _, hash := range hashes {
		require.LessOrEqual(t, node.receipt(t, hash).BlockNumber.Uint64(), before+soon, "another member's transaction")
	}
	before = node.height()
	removed := node.decide(t, "member-remove", addressOf(member).Hex(), administrator)
	require.LessOrEqual(t, removed, before+soon, "the administrator's decision")
	sent := node.nonce(t, member)
	require.Less(t, sent, uint64(flood), "the flood still waits")
	node.reach(t, removed+3)
	require.Equal(t, sent, node.nonce(t, member), "what waited of the flood is dropped")
}
