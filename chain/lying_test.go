package main_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	evmtypes "github.com/cosmos/evm/x/vm/types"
)

// liar answers as the node does, but for the EVM's parameters.
func (n *testNode) liar(t *testing.T, lie func(*evmtypes.Params)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		asked, err := io.ReadAll(request.Body)
		if err == nil {
			var truth *http.Response
			if truth, err = http.Post("http://"+n.cometRPC, "application/json", bytes.NewReader(asked)); err == nil {
				defer func() { _ = truth.Body.Close() }()
				var told []byte
				if told, err = io.ReadAll(truth.Body); err == nil {
					if strings.Contains(string(asked), "cosmos.evm.vm.v1.Query/Params") {
						told, err = falsified(told, lie)
					}
					_, _ = answer.Write(told) // the client sees what is missing
				}
			}
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func falsified(told []byte, lie func(*evmtypes.Params)) ([]byte, error) {
	var document map[string]any
	if err := json.Unmarshal(told, &document); err != nil {
		return nil, err
	}
	response := document["result"].(map[string]any)["response"].(map[string]any)
	var value struct{ Value []byte }
	content, err := json.Marshal(map[string]any{"Value": response["value"]})
	if err == nil {
		err = json.Unmarshal(content, &value)
	}
	var params evmtypes.QueryParamsResponse
	if err == nil {
		err = params.Unmarshal(value.Value)
	}
	if err != nil {
		return nil, err
	}
	lie(&params.Params)
	if response["value"], err = params.Marshal(); err != nil {
		return nil, err
	}
	return json.Marshal(document)
}

func TestAttack_NodeLiesAboutTheListsToTheAdministrator_IsFoundByAnotherNode(t *testing.T) {
	node := startSingle(t, addressOf(joiner))
	out := filepath.Join(t.TempDir(), "proposal.json")
	newcomer := addressOf(newKey(9)).Hex()
	propose := func(liar string, more ...string) error {
		_, err := run(append([]string{"propose", "member-add", newcomer, "--out", out, "--overwrite", "--comet-rpc", liar}, more...)...)
		return err
	}
	honest := []string{"--confirm", "http://" + node.cometRPC}
	check := []string{"check", "member-add", newcomer, "--proposal", out, "--home", node.home}

	deployer := node.liar(t, func(params *evmtypes.Params) {
		params.AccessControl.Create.AccessControlList = append(params.AccessControl.Create.AccessControlList, addressOf(stranger).Hex())
	})
	require.ErrorContains(t, propose(deployer, honest...), "it has "+addressOf(stranger).Hex()+" on the list of deployers")
	require.NoFileExists(t, out, "nothing is there to sign")
	require.NoError(t, propose(deployer))
	_, err := run(check...)
	require.ErrorContains(t, err, "on the list of deployers", "a signer with a node of its own finds it")

	rival := node.liar(t, func(params *evmtypes.Params) {
		list := params.AccessControl.Call.AccessControlList
		params.AccessControl.Call.AccessControlList = slices.DeleteFunc(list, func(entry string) bool { return entry == addressOf(joiner).Hex() })
	})
	require.ErrorContains(t, propose(rival, honest...), "it lacks "+addressOf(joiner).Hex()+" on the list of members")

	for name, lie := range map[string]func(*evmtypes.Params){
		"permissionless": func(params *evmtypes.Params) {
			params.AccessControl.Call.AccessType = evmtypes.AccessTypePermissionless
		},
		"other coin": func(params *evmtypes.Params) { params.EvmDenom = "stake" },
		"extra EIPs": func(params *evmtypes.Params) { params.ExtraEIPs = []int64{3855} },
		"precompiles": func(params *evmtypes.Params) {
			params.ActiveStaticPrecompiles = []string{"0x0000000000000000000000000000000000000800"}
		},
	} {
		require.ErrorContains(t, propose(node.liar(t, lie)), "no decision can have set", "%s: found alone", name)
	}

	require.NoError(t, propose("http://"+node.cometRPC, honest...))
	node.reach(t, node.height()+3)
	_, err = run(check...)
	require.NoError(t, err, "blocks later the same is signed but for the expiry")
	_, err = run("check", "member-add", addressOf(newKey(8)).Hex(), "--proposal", out, "--home", node.home)
	require.ErrorContains(t, err, "something else")
	node.decide(t, "member-add", addressOf(newKey(8)).Hex(), administrator)
	_, err = run(check...)
	require.ErrorContains(t, err, "another sequence", "another decision came before it")
}
