package administration

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	evmtypes "github.com/cosmos/evm/x/vm/types"

	sdkmath "cosmossdk.io/math"

	cosmosed25519 "github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	"github.com/cosmos/cosmos-sdk/crypto/keys/multisig"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"

	"phr.example/chain/ceremony"
)

const (
	transactionGas = ceremony.BlockMaximumGas / 4
	// ValidBlocks is how long a proposal can be used: a day of half-second blocks, ten days of an idle chain, so
	// that several administrators can sign, and a forgotten proposal cannot surprise a year later.
	ValidBlocks = 172_800
)

// Proposal is an unsigned transaction of the administrator, and the digest that each administrator signs.
type Proposal struct {
	Action        string   `json:"action"`
	Subject       string   `json:"subject"`
	Effect        string   `json:"effect"` // what will change, for the person who signs
	ChainID       string   `json:"chain_id"`
	Administrator string   `json:"administrator"`
	Threshold     int      `json:"threshold"`      // how many signatures are needed
	PublicKeys    []string `json:"public_keys"`    // of a multi-signature administrator, compressed, hexadecimal
	AccountNumber uint64   `json:"account_number"` //
	Sequence      uint64   `json:"sequence"`
	ExpiresHeight uint64   `json:"expires_height"`
	Transaction   string   `json:"transaction"` // unsigned, hexadecimal
	SignBytes     string   `json:"sign_bytes"`  // canonical JSON of what is signed
	Digest        string   `json:"digest"`      // keccak256 of sign_bytes: the 32 bytes to sign (secp256k1)
}

// Propose makes the proposal of an action: member-add and member-remove with an address, validator-add
// with the validator.json of the one who joins, validator-remove with a name or consensus address.
func (chain *Chain) Propose(ctx context.Context, action, subject string) (*Proposal, error) {
	administrator, err := chain.administrator(ctx)
	if err != nil {
		return nil, err
	}
	var messages []sdk.Msg
	var effect string
	switch action {
	case "member-add", "member-remove":
		messages, effect, err = chain.changeMember(ctx, administrator, subject, action == "member-add")
	case "validator-add":
		messages, effect, err = chain.addValidator(ctx, administrator, subject)
	case "validator-remove":
		messages, effect, err = chain.removeValidator(ctx, administrator, subject)
	default:
		err = fmt.Errorf("action %q: expected member-add, member-remove, validator-add or validator-remove", action)
	}
	if err != nil {
		return nil, err
	}
	proposal := &Proposal{Action: action, Subject: subject, Effect: effect, PublicKeys: []string{}}
	return proposal, chain.unsigned(ctx, proposal, administrator, messages)
}

// unsigned fills in the transaction and what is signed. The sign mode is the SDK's JSON one: it is the
// same for one key and for several, and a person can read what is signed.
func (chain *Chain) unsigned(ctx context.Context, proposal *Proposal, administrator []byte, messages []sdk.Msg) error {
	account, err := chain.account(ctx, administrator)
	if err != nil {
		return err
	}
	if account == nil {
		return fmt.Errorf("the administrator %s has no account on this chain", common.BytesToAddress(administrator))
	}
	status, err := chain.comet.Status(ctx)
	if err != nil {
		return err
	}
	proposal.ChainID = status.NodeInfo.Network
	proposal.Administrator = common.BytesToAddress(administrator).Hex()
	proposal.AccountNumber, proposal.Sequence = account.GetAccountNumber(), account.GetSequence()
	proposal.ExpiresHeight = uint64(status.SyncInfo.LatestBlockHeight) + ValidBlocks
	proposal.Threshold = 1
	if several, ok := account.GetPubKey().(*multisig.LegacyAminoPubKey); ok {
		proposal.Threshold = int(several.Threshold)
		for _, key := range several.GetPubKeys() {
			proposal.PublicKeys = append(proposal.PublicKeys, hex.EncodeToString(key.Bytes()))
		}
	}
	builder := chain.encoding.TxConfig.NewTxBuilder()
	if err := builder.SetMsgs(messages...); err != nil {
		return err
	}
	builder.SetGasLimit(transactionGas)
	builder.SetTimeoutHeight(proposal.ExpiresHeight)
	transaction, err := chain.encoding.TxConfig.TxEncoder()(builder.GetTx())
	if err != nil {
		return err
	}
	signBytes, err := chain.signBytes(ctx, proposal, administrator, builder.GetTx())
	if err != nil {
		return err
	}
	proposal.Transaction, proposal.SignBytes = hex.EncodeToString(transaction), string(signBytes)
	proposal.Digest = crypto.Keccak256Hash(signBytes).Hex()
	return nil
}

func (chain *Chain) signBytes(ctx context.Context, proposal *Proposal, administrator []byte, tx sdk.Tx) ([]byte, error) {
	return authsigning.GetSignBytesAdapter(ctx, chain.encoding.TxConfig.SignModeHandler(), signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON,
		authsigning.SignerData{
			Address: sdk.AccAddress(administrator).String(), ChainID: proposal.ChainID,
			AccountNumber: proposal.AccountNumber, Sequence: proposal.Sequence,
		}, tx)
}

// changeMember puts an address on the list of those who may send transactions, or takes it off. A new
// member is sent one unit of stake, which it cannot use without the administrator: that makes its
// account, and only an account in state may have more than one waiting transaction.
func (chain *Chain) changeMember(ctx context.Context, administrator []byte, subject string, add bool) ([]sdk.Msg, string, error) {
	if !common.IsHexAddress(subject) {
		return nil, "", fmt.Errorf("member %q: expected an address of 0x and 40 hexadecimal digits", subject)
	}
	member := common.HexToAddress(subject)
	if (member == common.Address{}) {
		return nil, "", fmt.Errorf("the zero address is no member")
	}
	params, err := chain.evmParams(ctx)
	if err != nil {
		return nil, "", err
	}
	if err := onlyListsDiffer(params); err != nil {
		return nil, "", err
	}
	list := []common.Address{}
	for _, entry := range params.AccessControl.Call.AccessControlList {
		list = append(list, common.HexToAddress(entry))
	}
	update := &evmtypes.MsgUpdateParams{Authority: sdk.AccAddress(administrator).String()}
	messages := []sdk.Msg{update}
	effect := member.Hex() + " may send transactions"
	deployers := params.AccessControl.Create.AccessControlList
	if present := slices.Contains(list, member); present == add {
		return nil, "", fmt.Errorf("%s is %s", member, map[bool]string{true: "a member already", false: "not a member"}[add])
	}
	if add {
		list = append(list, member)
		account, err := chain.account(ctx, member.Bytes())
		if err != nil {
			return nil, "", err
		}
		if account == nil {
			messages = append(messages, banktypes.NewMsgSend(administrator, member.Bytes(), units(1)))
		}
	} else {
		permanent := append(slices.Clone(deployers), common.BytesToAddress(administrator).Hex())
		if slices.ContainsFunc(permanent, func(entry string) bool { return common.HexToAddress(entry) == member }) {
			return nil, "", fmt.Errorf("%s is the administrator or the deployer of this chain and cannot be removed", member)
		}
		list = slices.DeleteFunc(list, func(entry common.Address) bool { return entry == member })
		effect = member.Hex() + " may no longer send transactions; what waits in the mempool is dropped"
	}
	params.AccessControl.Call.AccessControlList = ceremony.AddressList(list)
	update.Params = params
	return messages, fmt.Sprintf("%s; then %d accounts may send, and %s may deploy", effect, len(params.AccessControl.Call.AccessControlList)-1,
		strings.Join(deployers, ", ")), nil
}

// addValidator makes a validator from its public half alone: one unit of stake stands at the address
// derived from its consensus key (staking demands it), the administrator's stake gives it its power.
func (chain *Chain) addValidator(ctx context.Context, administrator []byte, path string) ([]sdk.Msg, string, error) {
	identity, err := ceremony.ReadValidatorIdentity(path)
	if err != nil {
		return nil, "", err
	}
	publicKey, err := hex.DecodeString(identity.ConsensusPublicKey)
	if err != nil {
		return nil, "", err
	}
	operator := ceremony.OperatorAddress(publicKey)
	validators, err := chain.validators(ctx)
	if err != nil {
		return nil, "", err
	}
	delegator := sdk.AccAddress(administrator).String()
	power := sdk.NewCoin(ceremony.StakeDenomination, ceremony.Stake(ceremony.ValidatorPower))
	messages := []sdk.Msg{stakingtypes.NewMsgDelegate(delegator, operator.String(), power)}
	known := false
	for _, validator := range validators {
		same, active := validator.OperatorAddress == operator.String(), validator.ConsensusPower(sdk.DefaultPowerReduction) > 0
		switch {
		case same && active:
			return nil, "", fmt.Errorf("%s is a validator already", validator.Description.Moniker)
		case same:
			known = true // it was removed before, and comes back
		case active && ceremony.ComparableName(validator.Description.Moniker) == ceremony.ComparableName(identity.Name):
			return nil, "", fmt.Errorf("a validator named %q exists; names are unique", validator.Description.Moniker)
		}
	}
	if !known {
		create, err := stakingtypes.NewMsgCreateValidator(operator.String(), &cosmosed25519.PubKey{Key: publicKey}, units(1)[0],
			stakingtypes.Description{Moniker: identity.Name},
			stakingtypes.NewCommissionRates(sdkmath.LegacyZeroDec(), sdkmath.LegacyZeroDec(), sdkmath.LegacyZeroDec()), sdkmath.OneInt())
		if err != nil {
			return nil, "", err
		}
		create.DelegatorAddress = delegator //nolint:staticcheck // who vouches, and signs: see app/encoding.go
		messages = append([]sdk.Msg{banktypes.NewMsgSend(administrator, sdk.AccAddress(operator), units(1)), create}, messages...)
	}
	return messages, fmt.Sprintf("%s becomes a validator with power %d", identity.Name, ceremony.ValidatorPower), nil
}

// removeValidator takes the administrator's stake, and so all power, from a validator.
func (chain *Chain) removeValidator(ctx context.Context, administrator []byte, subject string) ([]sdk.Msg, string, error) {
	validators, err := chain.validators(ctx)
	if err != nil {
		return nil, "", err
	}
	validators = slices.DeleteFunc(validators, func(validator stakingtypes.Validator) bool {
		return validator.ConsensusPower(sdk.DefaultPowerReduction) == 0
	})
	chosen := slices.IndexFunc(validators, func(validator stakingtypes.Validator) bool {
		return validator.Description.Moniker == subject || strings.EqualFold(consensusAddress(validator), strings.TrimPrefix(subject, "0x"))
	})
	if chosen < 0 {
		return nil, "", fmt.Errorf("no validator has the name or address %q; phr-chain status lists them", subject)
	}
	if len(validators) == 1 {
		return nil, "", fmt.Errorf("%q is the only validator; the chain would end", subject)
	}
	validator, delegator := validators[chosen], sdk.AccAddress(administrator).String()
	answer, err := stakingtypes.NewQueryClient(chain.queries).Delegation(ctx,
		&stakingtypes.QueryDelegationRequest{DelegatorAddr: delegator, ValidatorAddr: validator.OperatorAddress})
	if err != nil {
		return nil, "", fmt.Errorf("the administrator's stake in %s: %w", subject, err)
	}
	effect := fmt.Sprintf("%s (%s) votes no longer; %d validators remain, of which %d may fail", validator.Description.Moniker, consensusAddress(validator), len(validators)-1, (len(validators)-2)/3)
	return []sdk.Msg{stakingtypes.NewMsgUndelegate(delegator, validator.OperatorAddress, answer.DelegationResponse.Balance)}, effect, nil
}

func units(amount int64) sdk.Coins {
	return sdk.NewCoins(sdk.NewInt64Coin(ceremony.StakeDenomination, amount))
}
