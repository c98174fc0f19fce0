package ceremony

import (
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"

	feemarkettypes "github.com/cosmos/evm/x/feemarket/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	sdkmath "cosmossdk.io/math"

	cosmosed25519 "github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
)

// authState has an account for everyone who sends: an account that is not yet in state may have only
// one waiting transaction.
func authState(administrator []byte, administratorKey cryptotypes.PubKey, plan Plan) *authtypes.GenesisState {
	addresses := append(slices.Clone(plan.Members), common.BytesToAddress(administrator))
	if (plan.Deployer != common.Address{}) {
		addresses = append(addresses, plan.Deployer)
	}
	slices.SortFunc(addresses, func(a, b common.Address) int { return a.Cmp(b) })
	accounts := []authtypes.GenesisAccount{}
	for number, address := range slices.Compact(addresses) {
		account := authtypes.NewBaseAccount(address.Bytes(), nil, uint64(number), 0)
		if administratorKey != nil && address == common.BytesToAddress(administrator) {
			account.PubKey = packedKey(administratorKey)
		}
		accounts = append(accounts, account)
	}
	return authtypes.NewGenesisState(authtypes.DefaultParams(), accounts)
}

// bankState gives the stake to the administrator, apart from what is bonded; of the gas denomination,
// which the EVM module needs described, there is none.
func bankState(administrator []byte, bonded sdkmath.Int) *banktypes.GenesisState {
	supply := Stake(stakeSupplyPowers)
	coins := func(amount sdkmath.Int) sdk.Coins { return sdk.NewCoins(sdk.NewCoin(StakeDenomination, amount)) }
	state := banktypes.DefaultGenesisState()
	state.Supply = coins(supply)
	state.Balances = []banktypes.Balance{
		{Address: sdk.AccAddress(administrator).String(), Coins: coins(supply.Sub(bonded))},
		{Address: authtypes.NewModuleAddress(stakingtypes.BondedPoolName).String(), Coins: coins(bonded)},
	}
	slices.SortFunc(state.Balances, func(a, b banktypes.Balance) int { return strings.Compare(a.Address, b.Address) })
	state.DenomMetadata = []banktypes.Metadata{{
		Description: "gas, free of charge on this chain", Base: GasDenomination, Display: "phr", Name: "phr", Symbol: "PHR",
		DenomUnits: []*banktypes.DenomUnit{{Denom: GasDenomination}, {Denom: "phr", Exponent: 18}},
	}}
	return state
}

// stakingState has every validator bonded with the administrator's stake and no other.
func stakingState(validators []ValidatorIdentity, administrator []byte) (*stakingtypes.GenesisState, sdkmath.Int, error) {
	state := stakingtypes.DefaultGenesisState()
	state.Params.BondDenom = StakeDenomination
	state.Params.UnbondingTime = unbondingTime
	state.Params.HistoricalEntries = 0
	bonded := sdkmath.ZeroInt()
	for _, identity := range validators {
		key, err := identity.publicKey()
		if err != nil {
			return nil, bonded, err
		}
		stake := Stake(ValidatorPower)
		operator := OperatorAddress(key.Bytes()).String()
		state.Validators = append(state.Validators, stakingtypes.Validator{
			OperatorAddress: operator, ConsensusPubkey: packedKey(&cosmosed25519.PubKey{Key: key.Bytes()}),
			Status: stakingtypes.Bonded, Tokens: stake, DelegatorShares: sdkmath.LegacyNewDecFromInt(stake),
			Description:   stakingtypes.Description{Moniker: identity.Name},
			UnbondingTime: time.Unix(0, 0).UTC(),
			Commission:    stakingtypes.NewCommission(sdkmath.LegacyZeroDec(), sdkmath.LegacyZeroDec(), sdkmath.LegacyZeroDec()),
			// an unset amount would not survive being written as JSON
			MinSelfDelegation: sdkmath.OneInt(),
		})
		state.Delegations = append(state.Delegations, stakingtypes.Delegation{
			DelegatorAddress: sdk.AccAddress(administrator).String(), ValidatorAddress: operator,
			Shares: sdkmath.LegacyNewDecFromInt(stake),
		})
		bonded = bonded.Add(stake)
	}
	return state, bonded, nil
}

// feeState makes gas free: no base fee, no least price, and no charge for gas that was not used.
func feeState() *feemarkettypes.GenesisState {
	state := feemarkettypes.DefaultGenesisState()
	state.Params.NoBaseFee = true
	state.Params.BaseFee = sdkmath.LegacyZeroDec()
	state.Params.MinGasPrice = sdkmath.LegacyZeroDec()
	state.Params.MinGasMultiplier = sdkmath.LegacyZeroDec()
	return state
}

// evmState has the allowlists, and of the library's preinstalled contracts only the one that makes
// BLOCKHASH work (EIP-2935).
func evmState(administrator []byte, plan Plan) *evmtypes.GenesisState {
	deployer := plan.Deployer
	if (deployer == common.Address{}) {
		deployer = common.BytesToAddress(administrator)
	}
	// The zero address signs nothing; on the list it lets eth_call without a sender read contracts.
	callers := append(slices.Clone(plan.Members), common.BytesToAddress(administrator), deployer, common.Address{})
	state := evmtypes.DefaultGenesisState()
	state.Params = EVMParams(AddressList([]common.Address{deployer}), AddressList(callers))
	for _, preinstall := range evmtypes.DefaultPreinstalls {
		if common.HexToAddress(preinstall.Address) == params.HistoryStorageAddress {
			state.Preinstalls = append(state.Preinstalls, preinstall)
		}
	}
	return state
}

// EVMParams returns the EVM's parameters with these lists, of who may deploy and who may send transactions:
// nothing else in them ever changes.
func EVMParams(deployers, callers []string) evmtypes.Params {
	parameters := evmtypes.DefaultParams()
	parameters.EvmDenom = GasDenomination
	parameters.ExtendedDenomOptions = &evmtypes.ExtendedDenomOptions{ExtendedDenom: GasDenomination}
	parameters.ActiveStaticPrecompiles = nil
	parameters.AccessControl = evmtypes.AccessControl{
		Create: evmtypes.AccessControlType{AccessType: evmtypes.AccessTypePermissioned, AccessControlList: deployers},
		Call:   evmtypes.AccessControlType{AccessType: evmtypes.AccessTypePermissioned, AccessControlList: callers},
	}
	return parameters
}

// AddressList writes addresses in their checksummed form, sorted and without doubles.
func AddressList(addresses []common.Address) []string {
	sorted := slices.Clone(addresses)
	slices.SortFunc(sorted, func(a, b common.Address) int { return a.Cmp(b) })
	list := []string{}
	for _, address := range slices.Compact(sorted) {
		list = append(list, address.Hex())
	}
	return list
}
