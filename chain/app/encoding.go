package app

import (
	"fmt"

	stakingapi "cosmossdk.io/api/cosmos/staking/v1beta1"
	protov2 "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	evmaddress "github.com/cosmos/evm/encoding/address"
	evmcodec "github.com/cosmos/evm/encoding/codec"
	"github.com/cosmos/evm/ethereum/eip712"
	feemarkettypes "github.com/cosmos/evm/x/feemarket/types"
	evmtypes "github.com/cosmos/evm/x/vm/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/auth/migrations/legacytx"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"
)

// Bech32Prefix is the human-readable part of the chain's bech32 addresses; people see 0x addresses.
const Bech32Prefix = "phr"

// Encoding holds the codecs that the node, the ceremony and the administration share.
type Encoding struct {
	InterfaceRegistry codectypes.InterfaceRegistry
	Codec             codec.Codec
	Amino             *codec.LegacyAmino
	TxConfig          client.TxConfig
	AddressCodec      interface {
		StringToBytes(text string) ([]byte, error)
		BytesToString(address []byte) (string, error)
	}
}

func init() {
	config := sdk.GetConfig()
	config.SetBech32PrefixForAccount(Bech32Prefix, Bech32Prefix+"pub")
	config.SetBech32PrefixForValidator(Bech32Prefix+"valoper", Bech32Prefix+"valoperpub")
	config.SetBech32PrefixForConsensusNode(Bech32Prefix+"valcons", Bech32Prefix+"valconspub")
	config.Seal()
}

// NewEncoding returns the chain's codecs for an EIP-155 chain id. It sets the library's process-wide
// EIP-712 codec, so a process serves one chain.
func NewEncoding(evmChainID uint64) Encoding {
	addressCodec := evmaddress.NewEvmCodec(Bech32Prefix)
	registry, err := codectypes.NewInterfaceRegistryWithOptions(codectypes.InterfaceRegistryOptions{
		ProtoFiles: proto.HybridResolver,
		SigningOptions: signing.Options{
			AddressCodec:          addressCodec,
			ValidatorAddressCodec: evmaddress.NewEvmCodec(Bech32Prefix + "valoper"),
			CustomGetSigners: map[protoreflect.FullName]signing.GetSignersFunc{
				evmtypes.MsgEthereumTxCustomGetSigner.MsgType: evmtypes.MsgEthereumTxCustomGetSigner.Fn,
				protov2.MessageName(&stakingapi.MsgCreateValidator{}): func(message protov2.Message) ([][]byte, error) {
					return createValidatorSigners(message, addressCodec.StringToBytes)
				},
			},
		},
	})
	if err != nil {
		panic(err) // the options above are constants
	}
	amino := codec.NewLegacyAmino()
	evmcodec.RegisterLegacyAminoCodec(amino)
	evmcodec.RegisterInterfaces(registry)
	for _, register := range []func(codectypes.InterfaceRegistry){
		authtypes.RegisterInterfaces, banktypes.RegisterInterfaces, stakingtypes.RegisterInterfaces,
		consensustypes.RegisterInterfaces, evmtypes.RegisterInterfaces, feemarkettypes.RegisterInterfaces,
	} {
		register(registry)
	}
	eip712.SetEncodingConfig(amino, registry, evmChainID)
	legacytx.RegressionTestingAminoCodec = amino
	protoCodec := codec.NewProtoCodec(registry)
	return Encoding{
		InterfaceRegistry: registry,
		Codec:             protoCodec,
		Amino:             amino,
		TxConfig:          authtx.NewTxConfig(protoCodec, authtx.DefaultSignModes),
		AddressCodec:      addressCodec,
	}
}

// createValidatorSigners makes MsgCreateValidator's delegator sign for it, not its operator: here an
// operator address is derived from the consensus key and has no key of its own, and the administrator
// vouches for the validator (admission.go demands the administrator's signature in any case).
func createValidatorSigners(message protov2.Message, decode func(string) ([]byte, error)) ([][]byte, error) {
	fields := message.ProtoReflect()
	delegator := fields.Descriptor().Fields().ByName("delegator_address")
	if delegator == nil {
		return nil, fmt.Errorf("MsgCreateValidator has no delegator_address field")
	}
	signer, err := decode(fields.Get(delegator).String())
	if err != nil {
		return nil, fmt.Errorf("delegator_address of MsgCreateValidator: %w", err)
	}
	return [][]byte{signer}, nil
}
