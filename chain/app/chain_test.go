package app_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethtypes "github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/spf13/viper"
	"github.com/stretchr/testify/require"

	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/evm/crypto/ethsecp256k1"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	"cosmossdk.io/log/v2"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"

	"phr.example/chain/app"
	"phr.example/chain/ceremony"
)

const (
	chainID    = "phr-test"
	evmChainID = 7201
)

// chain is the application without CometBFT: blocks are given to it by hand. The EVM library keeps its
// configuration per process, so all tests of this package share one.
type chain struct {
	*app.App
	height int64
	now    time.Time
}

var (
	shared                                  *chain
	administrator, member, leaver, stranger = newKey(1), newKey(2), newKey(3), newKey(4)
)

func newKey(seed byte) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(append(make([]byte, 31), seed))
	if err != nil {
		panic(err)
	}
	return key
}

func addressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

func accountOf(key *ecdsa.PrivateKey) sdk.AccAddress { return addressOf(key).Bytes() }

// start returns the shared chain after its first blocks.
func start(t *testing.T) *chain {
	t.Helper()
	if shared != nil {
		return shared
	}
	directory, err := os.MkdirTemp("", "phr-chain-app")
	require.NoError(t, err)
	identity, err := ceremony.MakeKeys(filepath.Join(directory, "keys"), "Hospital")
	require.NoError(t, err)
	genesisTime := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	content, err := ceremony.Genesis(ceremony.Plan{
		ChainID: chainID, EVMChainID: evmChainID, Administrator: addressOf(administrator),
		Members:    []common.Address{addressOf(member), addressOf(leaver)},
		Validators: []ceremony.ValidatorIdentity{identity}, GenesisTime: genesisTime,
	})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(directory, "config"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(directory, "config", "genesis.json"), content, 0o600))
	options := viper.New()
	for key, value := range map[string]any{"home": directory, "pruning": "nothing", "minimum-gas-prices": "0aphr",
		"evm.evm-chain-id": evmChainID, "evm.mempool.insert-queue-size": 100, "evm.mempool.check-tx-timeout": "5s"} {
		options.Set(key, value)
	}
	application, err := app.New(log.NewNopLogger(), dbm.NewMemDB(), options, func(string) error { return nil })
	require.NoError(t, err)
	var document genutiltypes.AppGenesis
	require.NoError(t, json.Unmarshal(content, &document))
	params := document.Consensus.Params.ToProto()
	_, err = application.InitChain(&abci.RequestInitChain{
		ChainId: chainID, Time: genesisTime, ConsensusParams: &params, AppStateBytes: document.AppState, InitialHeight: 1,
	})
	require.NoError(t, err)
	shared = &chain{App: application, now: genesisTime}
	shared.block(t)
	shared.block(t)
	return shared
}

// block executes and commits a block of these transactions and returns their results.
func (c *chain) block(t *testing.T, transactions ...[]byte) []*abci.ExecTxResult {
	t.Helper()
	c.height++
	c.now = c.now.Add(time.Second)
	answer, err := c.FinalizeBlock(&abci.RequestFinalizeBlock{Height: c.height, Time: c.now, Txs: transactions, Hash: make([]byte, 32)})
	require.NoError(t, err)
	_, err = c.Commit()
	require.NoError(t, err)
	return answer.TxResults
}

func (c *chain) context(t *testing.T) sdk.Context {
	t.Helper()
	ctx, err := c.CreateQueryContext(0, false)
	require.NoError(t, err)
	return ctx
}

func (c *chain) nonce(t *testing.T, key *ecdsa.PrivateKey) uint64 {
	t.Helper()
	account := c.Accounts.GetAccount(c.context(t), accountOf(key))
	if account == nil {
		return 0
	}
	return account.GetSequence()
}

// ethereum returns a signed Ethereum transaction as the chain carries it.
func (c *chain) ethereum(t *testing.T, key *ecdsa.PrivateKey, inner ethtypes.TxData) []byte {
	t.Helper()
	signer := ethtypes.NewPragueSigner(big.NewInt(evmChainID))
	signed, err := ethtypes.SignNewTx(key, signer, inner)
	require.NoError(t, err)
	message := &evmtypes.MsgEthereumTx{}
	require.NoError(t, message.FromSignedEthereumTx(signed, signer))
	return c.carry(t, message)
}

func (c *chain) carry(t *testing.T, message *evmtypes.MsgEthereumTx) []byte {
	t.Helper()
	config := c.Encoding().TxConfig
	built, err := message.BuildTx(config.NewTxBuilder(), ceremony.GasDenomination)
	require.NoError(t, err)
	content, err := config.TxEncoder()(built)
	require.NoError(t, err)
	return content
}

func (c *chain) transfer(t *testing.T, key *ecdsa.PrivateKey) []byte {
	to := addressOf(administrator)
	return c.ethereum(t, key, &ethtypes.LegacyTx{Nonce: c.nonce(t, key), GasPrice: new(big.Int), Gas: 21_000, To: &to})
}

func (c *chain) deployment(t *testing.T, key *ecdsa.PrivateKey, code []byte) []byte {
	return c.ethereum(t, key, &ethtypes.LegacyTx{Nonce: c.nonce(t, key), GasPrice: new(big.Int), Gas: 1_000_000, Data: code})
}

// cosmos returns a transaction of these messages signed by these keys.
func (c *chain) cosmos(t *testing.T, messages []sdk.Msg, keys ...*ecdsa.PrivateKey) []byte {
	t.Helper()
	config := c.Encoding().TxConfig
	builder := config.NewTxBuilder()
	require.NoError(t, builder.SetMsgs(messages...))
	builder.SetGasLimit(10_000_000)
	signatures := []signing.SignatureV2{}
	for _, key := range keys {
		account := c.Accounts.GetAccount(c.context(t), accountOf(key))
		require.NotNil(t, account)
		public := &ethsecp256k1.PubKey{Key: crypto.CompressPubkey(&key.PublicKey)}
		signBytes, err := authsigning.GetSignBytesAdapter(context.Background(), config.SignModeHandler(), signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON,
			authsigning.SignerData{Address: accountOf(key).String(), ChainID: chainID, AccountNumber: account.GetAccountNumber(), Sequence: account.GetSequence(), PubKey: public},
			builder.GetTx())
		require.NoError(t, err)
		signature, err := crypto.Sign(crypto.Keccak256(signBytes), key)
		require.NoError(t, err)
		signatures = append(signatures, signing.SignatureV2{PubKey: public, Sequence: account.GetSequence(),
			Data: &signing.SingleSignatureData{SignMode: signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON, Signature: signature[:64]}})
	}
	require.NoError(t, builder.SetSignatures(signatures...))
	content, err := config.TxEncoder()(builder.GetTx())
	require.NoError(t, err)
	return content
}

// refusedEverywhere checks every door for a transaction that must not enter.
func (c *chain) refusedEverywhere(t *testing.T, transaction []byte, reason string) {
	t.Helper()
	checked, err := c.CheckTx(&abci.RequestCheckTx{Tx: transaction, Type: abci.CheckTxType_New})
	require.NoError(t, err)
	require.NotZero(t, checked.Code)
	require.Contains(t, checked.Log, reason, "CometBFT's RPC")
	inserted, err := c.InsertTx(&abci.RequestInsertTx{Tx: transaction})
	require.NoError(t, err)
	require.NotZero(t, inserted.Code, "from a peer")
	decoded, err := c.Encoding().TxConfig.TxDecoder()(transaction)
	require.NoError(t, err)
	require.ErrorContains(t, c.Mempool.Insert(context.Background(), decoded), reason, "eth_sendRawTransaction")
	require.Zero(t, c.Mempool.CountTx())
	require.Equal(t, abci.ResponseProcessProposal_REJECT, c.propose(t, transaction), "in a dishonest proposal")
	before := c.LastCommitID().Hash
	result := c.block(t, transaction)[0]
	require.NotZero(t, result.Code, "in a block")
	require.Contains(t, result.Log, reason)
	require.Empty(t, result.Data)
	require.NotEqual(t, before, c.LastCommitID().Hash, "the block itself is committed")
}

func (c *chain) propose(t *testing.T, transactions ...[]byte) abci.ResponseProcessProposal_ProposalStatus {
	t.Helper()
	answer, err := c.ProcessProposal(&abci.RequestProcessProposal{Height: c.height + 1, Time: c.now.Add(time.Second), Txs: transactions, Hash: make([]byte, 32)})
	require.NoError(t, err)
	return answer.Status
}
