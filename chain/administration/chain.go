// Package administration asks a running node about the chain and brings the administrator's decisions to
// it: members and validators that come and go. Decisions are signed elsewhere; no key is read here.
package administration

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	evmtypes "github.com/cosmos/evm/x/vm/types"

	"github.com/cosmos/cosmos-sdk/client"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"

	"phr.example/chain/app"
)

const requestTimeout = 10 * time.Second

// Chain is a connection to a node's CometBFT RPC.
type Chain struct {
	comet    *rpchttp.HTTP
	encoding app.Encoding
	queries  client.Context
}

// Connect returns a connection to http://host:port; it does not dial yet.
func Connect(url string) (*Chain, error) {
	comet, err := rpchttp.NewWithTimeout(url, "/websocket", uint(requestTimeout.Seconds()))
	if err != nil {
		return nil, fmt.Errorf("--comet-rpc %q: %w", url, err)
	}
	// The EVM chain id matters only to EIP-712 signatures, which are not made here.
	encoding := app.NewEncoding(1)
	return &Chain{comet: comet, encoding: encoding, queries: client.Context{}.WithCodec(encoding.Codec).
		WithInterfaceRegistry(encoding.InterfaceRegistry).WithTxConfig(encoding.TxConfig).WithClient(comet)}, nil
}

// Validator is one validator as people see it.
type Validator struct {
	Name    string `json:"name"`
	Address string `json:"address"` // of its consensus key, hexadecimal, as CometBFT shows it
	Power   int64  `json:"power"`
}

// Status is what status prints.
type Status struct {
	ChainID       string      `json:"chain_id"`
	NodeID        string      `json:"node_id"`
	Height        int64       `json:"height"`
	Time          time.Time   `json:"time"`
	CatchingUp    bool        `json:"catching_up"`
	Peers         []string    `json:"peers"`
	Validators    []Validator `json:"validators"`
	Administrator string      `json:"administrator"`
	Deployers     []string    `json:"deployers"`
	Members       []string    `json:"members"`
	GenesisSHA256 string      `json:"genesis_sha256,omitempty"`
}

// Status returns the node's view of the chain.
func (chain *Chain) Status(ctx context.Context) (*Status, error) {
	comet, err := chain.comet.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("the node does not answer (is it running?): %w", err)
	}
	network, err := chain.comet.NetInfo(ctx)
	if err != nil {
		return nil, err
	}
	status := &Status{
		ChainID: comet.NodeInfo.Network, NodeID: string(comet.NodeInfo.DefaultNodeID),
		Height: comet.SyncInfo.LatestBlockHeight, Time: comet.SyncInfo.LatestBlockTime, CatchingUp: comet.SyncInfo.CatchingUp,
		Peers: []string{}, Validators: []Validator{}, Deployers: []string{}, Members: []string{},
	}
	for _, peer := range network.Peers {
		status.Peers = append(status.Peers, string(peer.NodeInfo.DefaultNodeID))
	}
	slices.Sort(status.Peers)
	if status.Height == 0 {
		return status, nil // no state yet
	}
	administrator, err := chain.administrator(ctx)
	if err != nil {
		return nil, err
	}
	status.Administrator = common.BytesToAddress(administrator).Hex()
	params, err := chain.evmParams(ctx)
	if err != nil {
		return nil, err
	}
	status.Deployers = params.AccessControl.Create.AccessControlList
	for _, entry := range params.AccessControl.Call.AccessControlList {
		if (common.HexToAddress(entry) != common.Address{}) { // there for reading only, see ceremony/modules.go
			status.Members = append(status.Members, entry)
		}
	}
	validators, err := chain.validators(ctx)
	if err != nil {
		return nil, err
	}
	for _, validator := range validators {
		if power := validator.ConsensusPower(sdk.DefaultPowerReduction); power > 0 {
			status.Validators = append(status.Validators, Validator{validator.Description.Moniker, consensusAddress(validator), power})
		}
	}
	return status, nil
}

func (chain *Chain) administrator(ctx context.Context) ([]byte, error) {
	answer, err := consensustypes.NewQueryClient(chain.queries).Params(ctx, &consensustypes.QueryParamsRequest{})
	if err != nil {
		return nil, fmt.Errorf("consensus parameters: %w", err)
	}
	if answer.Params == nil || answer.Params.Authority == nil {
		return nil, fmt.Errorf("this chain has no administrator")
	}
	return chain.encoding.AddressCodec.StringToBytes(answer.Params.Authority.Authority)
}

func (chain *Chain) evmParams(ctx context.Context) (evmtypes.Params, error) {
	answer, err := evmtypes.NewQueryClient(chain.queries).Params(ctx, &evmtypes.QueryParamsRequest{})
	if err != nil {
		return evmtypes.Params{}, fmt.Errorf("members of the chain: %w", err)
	}
	return answer.Params, nil
}

// validators returns all validators in state, also those without power, by name.
func (chain *Chain) validators(ctx context.Context) ([]stakingtypes.Validator, error) {
	answer, err := stakingtypes.NewQueryClient(chain.queries).Validators(ctx,
		&stakingtypes.QueryValidatorsRequest{Pagination: &query.PageRequest{Limit: 1000}})
	if err != nil {
		return nil, fmt.Errorf("validators of the chain: %w", err)
	}
	for i := range answer.Validators {
		if err := answer.Validators[i].UnpackInterfaces(chain.encoding.InterfaceRegistry); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(answer.Validators, func(a, b stakingtypes.Validator) int {
		return strings.Compare(a.Description.Moniker, b.Description.Moniker)
	})
	return answer.Validators, nil
}

// account returns an account in state, or nil.
func (chain *Chain) account(ctx context.Context, address []byte) (sdk.AccountI, error) {
	answer, err := authtypes.NewQueryClient(chain.queries).Account(ctx,
		&authtypes.QueryAccountRequest{Address: sdk.AccAddress(address).String()})
	if err != nil {
		if strings.Contains(err.Error(), "not found") {
			return nil, nil
		}
		return nil, fmt.Errorf("account %s: %w", common.BytesToAddress(address), err)
	}
	var account sdk.AccountI
	return account, chain.encoding.InterfaceRegistry.UnpackAny(answer.Account, &account)
}

func consensusAddress(validator stakingtypes.Validator) string {
	address, err := validator.GetConsAddr()
	if err != nil {
		return "" // a validator in state always has a key
	}
	return strings.ToUpper(hex.EncodeToString(address))
}
