package app

import (
	"github.com/ethereum/go-ethereum/common"

	evmtypes "github.com/cosmos/evm/x/vm/types"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// accessLists are the EVM's own lists of who may deploy and who may send, as sets. There is no second truth:
// they are made anew whenever the parameters in state have other bytes.
type accessLists struct {
	parameters         string // as stored
	deployers, members map[common.Address]bool
}

// lists returns the lists of a state. Each transaction is checked several times, and a genesis may have ten
// thousand members: parsing their addresses each time would take milliseconds.
func (app *App) lists(ctx sdk.Context) *accessLists {
	stored := ctx.KVStore(app.evmStore).Get(evmtypes.KeyPrefixParams)
	if known := app.access.Load(); known != nil && known.parameters == string(stored) {
		return known
	}
	var parameters evmtypes.Params
	app.encoding.Codec.MustUnmarshal(stored, &parameters)
	made := &accessLists{
		parameters: string(stored),
		deployers:  setOf(parameters.AccessControl.Create.AccessControlList),
		members:    setOf(parameters.AccessControl.Call.AccessControlList),
	}
	app.access.Store(made)
	return made
}

func setOf(list []string) map[common.Address]bool {
	set := make(map[common.Address]bool, len(list))
	for _, entry := range list {
		set[common.HexToAddress(entry)] = true
	}
	return set
}
