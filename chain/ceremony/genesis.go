package ceremony

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/evm/crypto/ethsecp256k1"
	feemarkettypes "github.com/cosmos/evm/x/feemarket/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"
	"github.com/cosmos/gogoproto/proto"

	sdkmath "cosmossdk.io/math"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	cosmosed25519 "github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	"github.com/cosmos/cosmos-sdk/crypto/keys/multisig"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"

	"phr.example/chain/app"
)

const (
	// GasDenomination is what gas would be paid in; nobody holds any and its price is zero.
	GasDenomination = "aphr"
	// StakeDenomination is what voting power is made of; the administrator alone holds it.
	StakeDenomination = "stake"
	// BlockMaximumGas bounds the declared gas limits of a block's transactions together.
	BlockMaximumGas = 100_000_000
	// ValidatorPower is the voting power of every validator, in StakeUnits of one million.
	ValidatorPower = 10

	blockMaximumBytes = 4 << 20
	stakeSupplyPowers = 100_000 // enough for thousands of validators that come and go
	unbondingTime     = 24 * time.Hour
	maximumMembers    = 10_000
)

// trialChainIDs are those of networks for trying: Anvil's, Geth's, and that of earlier releases of this software.
var trialChainIDs = []uint64{31_337, 1_337, 7_701}

// Plan is what the organisations agree on; the same plan gives the same bytes.
type Plan struct {
	ChainID       string
	EVMChainID    uint64
	Administrator common.Address // zero if AdministratorKeys are given
	// AdministratorKeys, compressed secp256k1 public keys of 33 bytes, of which Threshold must sign.
	AdministratorKeys [][]byte
	Threshold         int
	Deployer          common.Address // may deploy contracts; zero means the administrator
	Members           []common.Address
	Validators        []ValidatorIdentity
	GenesisTime       time.Time
}

// Summary is what a genesis says about its chain.
type Summary struct {
	ChainID    string `json:"chain_id"`
	EVMChainID uint64 `json:"evm_chain_id"`
}

// Genesis returns the genesis document of a plan as JSON. The order of members and validators in the
// plan does not matter.
func Genesis(plan Plan) ([]byte, error) {
	if err := plan.complete(); err != nil {
		return nil, err
	}
	encoding := app.NewEncoding(plan.EVMChainID)
	administrator, administratorKey, err := plan.administrator()
	if err != nil {
		return nil, err
	}
	staking, bonded, err := stakingState(plan.Validators, administrator)
	if err != nil {
		return nil, err
	}
	modules := map[string]proto.Message{
		authtypes.ModuleName:      authState(administrator, administratorKey, plan),
		banktypes.ModuleName:      bankState(administrator, bonded),
		stakingtypes.ModuleName:   staking,
		feemarkettypes.ModuleName: feeState(),
		evmtypes.ModuleName:       evmState(administrator, plan),
	}
	state := map[string]json.RawMessage{}
	for name, genesis := range modules {
		if state[name], err = encoding.Codec.MarshalJSON(genesis); err != nil {
			return nil, fmt.Errorf("genesis of %s: %w", name, err)
		}
	}
	if state[app.Name], err = json.Marshal(app.Chain{EVMChainID: plan.EVMChainID}); err != nil {
		return nil, err
	}
	appState, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	params := cmttypes.DefaultConsensusParams()
	params.Block.MaxBytes, params.Block.MaxGas = blockMaximumBytes, BlockMaximumGas
	params.Authority.Authority = sdk.AccAddress(administrator).String()
	document := genutiltypes.AppGenesis{
		AppName: app.Name, ChainID: plan.ChainID, GenesisTime: plan.GenesisTime, InitialHeight: 1,
		AppState: appState, Consensus: &genutiltypes.ConsensusGenesis{Params: params},
	}
	if err := document.ValidateAndComplete(); err != nil {
		return nil, err
	}
	content, err := json.MarshalIndent(document, "", "  ")
	return append(content, '\n'), err
}

// Inspect checks a genesis document and returns what a node needs to know of it.
func Inspect(genesis []byte) (Summary, error) {
	document, err := genutiltypes.AppGenesisFromReader(bytes.NewReader(genesis))
	if err != nil {
		return Summary{}, fmt.Errorf("not a genesis: %w", err)
	}
	if err := document.ValidateAndComplete(); err != nil {
		return Summary{}, fmt.Errorf("invalid genesis: %w", err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(document.AppState, &state); err != nil {
		return Summary{}, fmt.Errorf("app_state of the genesis: %w", err)
	}
	var chain app.Chain
	if err := json.Unmarshal(state[app.Name], &chain); err != nil || document.AppName != app.Name || chain.EVMChainID == 0 {
		return Summary{}, fmt.Errorf("a genesis of another application; expected one made by %s genesis", app.Name)
	}
	return Summary{ChainID: document.ChainID, EVMChainID: chain.EVMChainID}, nil
}

// complete validates the plan and puts it in canonical order.
func (plan *Plan) complete() error {
	if strings.TrimSpace(plan.ChainID) == "" || len(plan.ChainID) > genutiltypes.MaxChainIDLen {
		return fmt.Errorf("--chain-id %q: expected 1 to %d characters", plan.ChainID, genutiltypes.MaxChainIDLen)
	}
	if plan.EVMChainID == 0 || plan.EVMChainID > 1<<53 {
		return fmt.Errorf("--evm-chain-id %d: expected 1 to 2^53", plan.EVMChainID)
	}
	if slices.Contains(trialChainIDs, plan.EVMChainID) {
		return fmt.Errorf("--evm-chain-id %d is one that networks for trying use: what an account signed there would be good here; choose another, at random", plan.EVMChainID)
	}
	if plan.GenesisTime.IsZero() {
		return fmt.Errorf("--genesis-time is required, so that all organisations make the same genesis")
	}
	plan.GenesisTime = plan.GenesisTime.UTC()
	if len(plan.Members) > maximumMembers {
		return fmt.Errorf("%d members: at most %d", len(plan.Members), maximumMembers)
	}
	if len(plan.Validators) == 0 {
		return fmt.Errorf("at least one --validator is required")
	}
	plan.Members = slices.Clone(plan.Members)
	slices.SortFunc(plan.Members, func(a, b common.Address) int { return a.Cmp(b) })
	plan.Members = slices.Compact(plan.Members)
	plan.Validators = slices.Clone(plan.Validators)
	slices.SortFunc(plan.Validators, func(a, b ValidatorIdentity) int { return strings.Compare(a.Name, b.Name) })
	seen := map[string]string{}
	for _, validator := range plan.Validators {
		if _, err := validator.publicKey(); err != nil {
			return err
		}
		for _, unique := range []string{ComparableName(validator.Name), validator.NodeID, strings.ToLower(validator.ConsensusPublicKey)} {
			if other, taken := seen[unique]; taken {
				return fmt.Errorf("validators %q and %q share %s: each organisation makes its own keys and name", other, validator.Name, unique)
			}
			seen[unique] = validator.Name
		}
	}
	return nil
}

// administrator returns the administrator's address, and its key if it is a multi-signature account.
func (plan *Plan) administrator() ([]byte, cryptotypes.PubKey, error) {
	none := plan.Administrator == common.Address{}
	if len(plan.AdministratorKeys) == 0 {
		if none {
			return nil, nil, fmt.Errorf("--administrator is required: the address that admits members and validators")
		}
		return plan.Administrator.Bytes(), nil, nil
	}
	if !none {
		return nil, nil, fmt.Errorf("give --administrator or --administrator-key, not both")
	}
	if plan.Threshold < 1 || plan.Threshold > len(plan.AdministratorKeys) || len(plan.AdministratorKeys) > 7 {
		return nil, nil, fmt.Errorf("--administrator-multisig %d of %d keys: expected 1 to the number of keys, at most 7 keys",
			plan.Threshold, len(plan.AdministratorKeys))
	}
	if (plan.Deployer == common.Address{}) {
		return nil, nil, fmt.Errorf("--deployer is required with a multi-signature administrator, which cannot sign a deployment")
	}
	keys := []cryptotypes.PubKey{}
	sorted := slices.Clone(plan.AdministratorKeys)
	slices.SortFunc(sorted, bytes.Compare)
	for i, key := range sorted {
		if len(key) != ethsecp256k1.PubKeySize || (key[0] != 2 && key[0] != 3) {
			return nil, nil, fmt.Errorf("--administrator-key %s: expected a compressed secp256k1 key of 33 bytes", hex.EncodeToString(key))
		}
		if i > 0 && bytes.Equal(key, sorted[i-1]) {
			return nil, nil, fmt.Errorf("--administrator-key %s is given twice", hex.EncodeToString(key))
		}
		keys = append(keys, &ethsecp256k1.PubKey{Key: key})
	}
	key := multisig.NewLegacyAminoPubKey(plan.Threshold, keys)
	return key.Address(), key, nil
}

// OperatorAddress is where a validator is kept in state: derived from its consensus key, so that no
// further key is needed and none can act for it.
func OperatorAddress(consensusPublicKey []byte) sdk.ValAddress {
	return sdk.ValAddress((&cosmosed25519.PubKey{Key: consensusPublicKey}).Address())
}

func packedKey(key cryptotypes.PubKey) *codectypes.Any {
	packed, err := codectypes.NewAnyWithValue(key)
	if err != nil {
		panic(err) // only for types that are no protocol buffers
	}
	return packed
}

// Stake returns the stake of a voting power.
func Stake(power int64) sdkmath.Int {
	return sdk.TokensFromConsensusPower(power, sdk.DefaultPowerReduction)
}
