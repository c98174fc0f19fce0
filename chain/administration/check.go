package administration

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	evmtypes "github.com/cosmos/evm/x/vm/types"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"phr.example/chain/ceremony"
)

// A proposal is made from what one node tells of the chain, and a change of members carries the EVM's
// parameters as a whole: a node that lies could have the administrator sign its own key among the deployers.

// onlyListsDiffer refuses parameters that differ from the ceremony's in anything but the two lists.
func onlyListsDiffer(params evmtypes.Params) error {
	access := params.AccessControl
	told, err := params.Marshal()
	if err != nil {
		return err
	}
	expected := ceremony.EVMParams(access.Create.AccessControlList, access.Call.AccessControlList)
	right, err := expected.Marshal()
	if err != nil {
		return err
	}
	if !bytes.Equal(told, right) {
		return fmt.Errorf("the node tells parameters of the EVM that no decision can have set; it lies, or serves another program: %s", params.String())
	}
	return nil
}

// Check makes a proposal of the same action and subject from what this node tells, and refuses the given one
// unless the same is signed with both, but for when they expire.
func (chain *Chain) Check(ctx context.Context, proposal *Proposal, action, subject string) error {
	if err := chain.reach(ctx, int64(proposal.ExpiresHeight)-ValidBlocks); err != nil {
		return err
	}
	expected, err := chain.Propose(ctx, action, subject)
	if err != nil {
		return err
	}
	given, signed, err := chain.contents(ctx, proposal)
	if err != nil {
		return err
	}
	right, wanted, err := chain.contents(ctx, expected)
	if err != nil {
		return err
	}
	differences := []string{}
	if proposal.Administrator != expected.Administrator || proposal.Threshold != expected.Threshold || !slices.Equal(proposal.PublicKeys, expected.PublicKeys) {
		differences = append(differences, "another administrator")
	}
	if proposal.ExpiresHeight > expected.ExpiresHeight+ValidBlocks {
		differences = append(differences, "it is good for too long")
	}
	for name := range wanted {
		if name != "timeout_height" && !reflect.DeepEqual(signed[name], wanted[name]) {
			differences = append(differences, "another "+name)
		}
	}
	slices.Sort(differences)
	if len(differences) == 0 {
		return nil
	}
	differences = append(differences, listDifferences(given, right)...)
	return fmt.Errorf("do not sign: from what this node tells, %s %s is something else than the proposal: %s", action, subject, strings.Join(differences, "; "))
}

// reach waits until the node has the block that a proposal was made at.
func (chain *Chain) reach(ctx context.Context, height int64) error {
	for {
		status, err := chain.comet.Status(ctx)
		if err != nil {
			return fmt.Errorf("the node does not answer (is it running?): %w", err)
		}
		if status.SyncInfo.LatestBlockHeight >= height {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node is at block %d, and the proposal was made at %d: it cannot tell", status.SyncInfo.LatestBlockHeight, height)
		case <-time.After(pollInterval):
		}
	}
}

// contents returns a proposal's messages and the fields of what is signed, which must be one and the same.
func (chain *Chain) contents(ctx context.Context, proposal *Proposal) (messages []sdk.Msg, signed map[string]any, err error) {
	content, err := hex.DecodeString(proposal.Transaction)
	if err != nil {
		return nil, nil, fmt.Errorf("transaction of the proposal: %w", err)
	}
	transaction, err := chain.encoding.TxConfig.TxDecoder()(content)
	if err != nil {
		return nil, nil, fmt.Errorf("transaction of the proposal: %w", err)
	}
	signBytes, err := chain.signBytes(ctx, proposal, common.HexToAddress(proposal.Administrator).Bytes(), transaction)
	if err != nil {
		return nil, nil, err
	}
	if string(signBytes) != proposal.SignBytes || crypto.Keccak256Hash(signBytes).Hex() != proposal.Digest {
		return nil, nil, fmt.Errorf("the proposal was altered: what it says is signed is not its transaction")
	}
	return transaction.GetMsgs(), signed, json.Unmarshal(signBytes, &signed)
}

// listDifferences names the addresses that only one of two changes of the lists has.
func listDifferences(given, right []sdk.Msg) (found []string) {
	one, two := accessOf(given), accessOf(right)
	if one == nil || two == nil {
		return nil
	}
	compare := func(list string, given, right []string) {
		for _, address := range given {
			if !slices.Contains(right, address) {
				found = append(found, fmt.Sprintf("it has %s on the list of %s", address, list))
			}
		}
		for _, address := range right {
			if !slices.Contains(given, address) {
				found = append(found, fmt.Sprintf("it lacks %s on the list of %s", address, list))
			}
		}
	}
	compare("deployers", one.Create.AccessControlList, two.Create.AccessControlList)
	compare("members", one.Call.AccessControlList, two.Call.AccessControlList)
	return found
}

func accessOf(messages []sdk.Msg) *evmtypes.AccessControl {
	for _, message := range messages {
		if update, ok := message.(*evmtypes.MsgUpdateParams); ok {
			return &update.Params.AccessControl
		}
	}
	return nil
}
