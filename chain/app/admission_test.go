package app_test

import (
	"crypto/ecdsa"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	ethtypes "github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
	"github.com/stretchr/testify/require"

	abci "github.com/cometbft/cometbft/abci/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	sdkmath "cosmossdk.io/math"

	cosmosed25519 "github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"

	"phr.example/chain/ceremony"
)

const (
	notMember   = "is not a member of this chain"
	notDeployer = "may not deploy contracts"
	notAdmin    = "only the chain's administrator"
)

// creator is the code of a contract that creates an empty contract when it is called, and returns its
// address: CREATE(0, 0, 0), MSTORE, RETURN of 32 bytes; before it, the usual constructor.
var creator = append(common.FromHex("600f600c600039600f6000f3"), common.FromHex("600060006000f060005260206000f3")...)

func TestMember_SendsATransaction_IsAdmittedAtEveryDoor(t *testing.T) {
	c := start(t)
	transaction := c.transfer(t, member)
	require.Equal(t, abci.ResponseProcessProposal_ACCEPT, c.propose(t, transaction))
	before := c.nonce(t, member)
	result := c.block(t, transaction)[0]
	require.Zero(t, result.Code, result.Log)
	require.Equal(t, before+1, c.nonce(t, member))
	require.True(t, c.Bank.GetAllBalances(c.context(t), accountOf(member)).IsZero(), "free of charge from an empty account")
}

func TestStranger_SendsATransaction_IsRefused(t *testing.T) {
	c := start(t)
	c.refusedEverywhere(t, c.transfer(t, stranger), notMember)
	require.Nil(t, c.Accounts.GetAccount(c.context(t), accountOf(stranger)), "a refused sender leaves no trace")
}

func TestStranger_NamesAMemberAsSender_IsRefused(t *testing.T) {
	c := start(t)
	signer := ethtypes.NewPragueSigner(big.NewInt(evmChainID))
	to := addressOf(member)
	signed, err := ethtypes.SignNewTx(stranger, signer, &ethtypes.LegacyTx{Nonce: c.nonce(t, member), GasPrice: new(big.Int), Gas: 21_000, To: &to})
	require.NoError(t, err)
	message := &evmtypes.MsgEthereumTx{}
	require.NoError(t, message.FromSignedEthereumTx(signed, signer))
	message.From = accountOf(member)
	c.refusedEverywhere(t, c.carry(t, message), notMember)
}

func TestMember_Deploys_IsRefused(t *testing.T) {
	c := start(t)
	before := c.nonce(t, member)
	c.refusedEverywhere(t, c.deployment(t, member, creator), notDeployer)
	require.Equal(t, before, c.nonce(t, member))
}

func TestMember_CreatesAContractThroughAContract_FailsInTheEVM(t *testing.T) {
	c := start(t)
	nonce := c.nonce(t, administrator)
	result := c.block(t, c.deployment(t, administrator, creator))[0]
	require.Zero(t, result.Code, result.Log)
	contract := crypto.CreateAddress(addressOf(administrator), nonce)
	require.True(t, c.EVM.IsContract(c.context(t), contract))
	child := crypto.CreateAddress(contract, 1)

	call := func(key *ecdsa.PrivateKey) *abci.ExecTxResult {
		return c.block(t, c.ethereum(t, key, &ethtypes.LegacyTx{Nonce: c.nonce(t, key), GasPrice: new(big.Int), Gas: 200_000, To: &contract}))[0]
	}
	call(member)
	require.Nil(t, c.EVM.GetAccount(c.context(t), child), "nothing was created for a member")
	created := call(administrator)
	require.Zero(t, created.Code, created.Log)
	require.NotNil(t, c.EVM.GetAccount(c.context(t), child), "the same call creates for the administrator")
}

func TestAnyone_SendsSetCodeTransaction_IsRefused(t *testing.T) {
	c := start(t)
	authorization, err := ethtypes.SignSetCode(member, ethtypes.SetCodeAuthorization{ChainID: *uint256.NewInt(evmChainID), Address: addressOf(stranger), Nonce: c.nonce(t, member)})
	require.NoError(t, err)
	for _, key := range []*ecdsa.PrivateKey{member, administrator} {
		c.refusedEverywhere(t, c.ethereum(t, key, &ethtypes.SetCodeTx{
			ChainID: uint256.NewInt(evmChainID), Nonce: c.nonce(t, key), GasTipCap: new(uint256.Int), GasFeeCap: new(uint256.Int), Gas: 100_000,
			To: addressOf(member), AuthList: []ethtypes.SetCodeAuthorization{authorization},
		}), "type 4")
	}
}

func TestMember_DeclaresMoreGasThanItsShareOfABlock_IsRefused(t *testing.T) {
	c := start(t)
	to := addressOf(member)
	most := &ethtypes.LegacyTx{Nonce: c.nonce(t, member), GasPrice: new(big.Int), Gas: 30_000_000, To: &to}
	require.Zero(t, c.block(t, c.ethereum(t, member, most))[0].Code)
	more := &ethtypes.LegacyTx{Nonce: c.nonce(t, member), GasPrice: new(big.Int), Gas: 30_000_001, To: &to}
	c.refusedEverywhere(t, c.ethereum(t, member, more), "gas limit")
}

func TestMember_SendsATransactionThatNamesNoChain_IsRefused(t *testing.T) {
	c := start(t)
	to := addressOf(member)
	signed, err := ethtypes.SignNewTx(member, ethtypes.HomesteadSigner{}, &ethtypes.LegacyTx{Nonce: c.nonce(t, member), GasPrice: new(big.Int), Gas: 21_000, To: &to})
	require.NoError(t, err)
	message := &evmtypes.MsgEthereumTx{}
	require.NoError(t, message.FromSignedEthereumTx(signed, ethtypes.HomesteadSigner{}))
	c.refusedEverywhere(t, c.carry(t, message), "EIP-155")
}

func send(from, to *ecdsa.PrivateKey) sdk.Msg {
	return banktypes.NewMsgSend(accountOf(from), accountOf(to), sdk.NewCoins(sdk.NewInt64Coin(ceremony.StakeDenomination, 1)))
}

func TestMember_SendsACosmosMessage_IsRefused(t *testing.T) {
	c := start(t)
	params := c.EVM.GetParams(c.context(t))
	params.AccessControl.Create.AccessControlList = []string{addressOf(member).Hex()}
	consensusKey := &cosmosed25519.PubKey{Key: make([]byte, 32)}
	create, err := stakingtypes.NewMsgCreateValidator(ceremony.OperatorAddress(consensusKey.Key).String(), consensusKey,
		sdk.NewInt64Coin(ceremony.StakeDenomination, 1), stakingtypes.Description{Moniker: "intruder"},
		stakingtypes.NewCommissionRates(sdkmath.LegacyZeroDec(), sdkmath.LegacyZeroDec(), sdkmath.LegacyZeroDec()), sdkmath.OneInt())
	require.NoError(t, err)
	create.DelegatorAddress = accountOf(member).String() //nolint:staticcheck // see app/encoding.go
	for name, message := range map[string]sdk.Msg{
		"sends stake":         send(member, stranger),
		"changes the lists":   &evmtypes.MsgUpdateParams{Authority: accountOf(member).String(), Params: params},
		"creates a validator": create,
		"delegates":           stakingtypes.NewMsgDelegate(accountOf(member).String(), sdk.ValAddress(accountOf(member)).String(), sdk.NewInt64Coin(ceremony.StakeDenomination, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			c.refusedEverywhere(t, c.cosmos(t, []sdk.Msg{message}, member), notAdmin)
		})
	}
}

func TestMember_SignsAsTheAdministrator_IsRefusedByTheSignature(t *testing.T) {
	c := start(t)
	transaction := c.cosmos(t, []sdk.Msg{send(administrator, member)}, member)
	require.Equal(t, abci.ResponseProcessProposal_REJECT, c.propose(t, transaction))
	result := c.block(t, transaction)[0]
	require.NotZero(t, result.Code)
	require.True(t, c.Bank.GetAllBalances(c.context(t), accountOf(member)).IsZero())
}

func TestEthereumTransaction_InsideACosmosTransaction_IsRefused(t *testing.T) {
	c := start(t)
	signer := ethtypes.NewPragueSigner(big.NewInt(evmChainID))
	to := addressOf(member)
	signed, err := ethtypes.SignNewTx(administrator, signer, &ethtypes.LegacyTx{Nonce: c.nonce(t, administrator), GasPrice: new(big.Int), Gas: 21_000, To: &to})
	require.NoError(t, err)
	message := &evmtypes.MsgEthereumTx{}
	require.NoError(t, message.FromSignedEthereumTx(signed, signer))
	transaction := c.cosmos(t, []sdk.Msg{send(administrator, member), message}, administrator)
	require.Equal(t, abci.ResponseProcessProposal_REJECT, c.propose(t, transaction))
	require.NotZero(t, c.block(t, transaction)[0].Code)
}

func TestAdministrator_RemovesAMember_WhoIsRefusedFromThen(t *testing.T) {
	c := start(t)
	waiting := c.transfer(t, leaver)
	params := c.EVM.GetParams(c.context(t))
	params.AccessControl.Call.AccessControlList = ceremony.AddressList([]common.Address{addressOf(member), addressOf(administrator), {}})
	removal := c.cosmos(t, []sdk.Msg{&evmtypes.MsgUpdateParams{Authority: accountOf(administrator).String(), Params: params}}, administrator)
	results := c.block(t, removal, waiting)
	require.Zero(t, results[0].Code, results[0].Log)
	require.NotZero(t, results[1].Code, "already in the same block")
	require.Contains(t, results[1].Log, notMember)
	c.refusedEverywhere(t, c.transfer(t, leaver), notMember)
	require.Equal(t, abci.ResponseProcessProposal_ACCEPT, c.propose(t, c.transfer(t, member)), "others are as before")
}

// logger is a contract that emits one empty log whenever it is called: LOG0(0, 0), STOP.
var logger = common.FromHex("6006600c60003960066000f3" + "60006000a000")

func TestLogsOfABlock_AreCountedThroughTheBlock(t *testing.T) {
	c := start(t)
	nonce := c.nonce(t, administrator)
	require.Zero(t, c.block(t, c.deployment(t, administrator, logger))[0].Code)
	contract := crypto.CreateAddress(addressOf(administrator), nonce)
	call := func(key *ecdsa.PrivateKey) []byte {
		return c.ethereum(t, key, &ethtypes.LegacyTx{Nonce: c.nonce(t, key), GasPrice: new(big.Int), Gas: 100_000, To: &contract})
	}
	for position, result := range c.block(t, call(member), call(administrator)) {
		require.Zero(t, result.Code, result.Log)
		answers, err := evmtypes.DecodeTxResponses(result.Data)
		require.NoError(t, err)
		require.Len(t, answers[0].Logs, 1)
		require.EqualValues(t, position, answers[0].Logs[0].Index)
		require.EqualValues(t, position, answers[0].Logs[0].TxIndex)
	}
}
