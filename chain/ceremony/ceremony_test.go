package ceremony_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"phr.example/chain/ceremony"
)

var administrator = common.HexToAddress("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")

func identity(t *testing.T, name string) ceremony.ValidatorIdentity {
	t.Helper()
	made, err := ceremony.MakeKeys(filepath.Join(t.TempDir(), name), name)
	require.NoError(t, err)
	return made
}

func plan(t *testing.T) ceremony.Plan {
	t.Helper()
	return ceremony.Plan{
		ChainID: "phr-test", EVMChainID: 7201, Administrator: administrator,
		Members:     []common.Address{common.HexToAddress("0x02"), common.HexToAddress("0x01"), common.HexToAddress("0x02")},
		Validators:  []ceremony.ValidatorIdentity{identity(t, "Hospital B"), identity(t, "Hospital A")},
		GenesisTime: time.Date(2026, 11, 22, 18, 0, 0, 0, time.FixedZone("KST", 9*3600)),
	}
}

func TestGenesis_SamePlanInAnotherOrder_SameBytes(t *testing.T) {
	first := plan(t)
	second := first
	second.Members, second.Validators = slices.Clone(first.Members), slices.Clone(first.Validators)
	slices.Reverse(second.Members)
	slices.Reverse(second.Validators)
	second.GenesisTime = first.GenesisTime.UTC()
	one, err := ceremony.Genesis(first)
	require.NoError(t, err)
	two, err := ceremony.Genesis(second)
	require.NoError(t, err)
	require.Equal(t, string(one), string(two))

	second.EVMChainID++
	three, err := ceremony.Genesis(second)
	require.NoError(t, err)
	require.NotEqual(t, one, three)
	summary, err := ceremony.Inspect(one)
	require.NoError(t, err)
	require.Equal(t, ceremony.Summary{ChainID: "phr-test", EVMChainID: 7201}, summary)
}

func TestGenesis_StakeAndLists_AreTheAdministratorsAlone(t *testing.T) {
	content, err := ceremony.Genesis(plan(t))
	require.NoError(t, err)
	var document struct {
		AppState struct {
			Staking struct {
				Delegations []struct {
					Delegator string `json:"delegator_address"`
				} `json:"delegations"`
			} `json:"staking"`
			EVM struct {
				Params struct {
					Access struct {
						Create, Call struct {
							Type string   `json:"access_type"`
							List []string `json:"access_control_list"`
						}
					} `json:"access_control"`
				} `json:"params"`
			} `json:"evm"`
			FeeMarket struct {
				Params map[string]any `json:"params"`
			} `json:"feemarket"`
		} `json:"app_state"`
		Consensus struct {
			Params struct {
				Authority struct{ Authority string } `json:"authority"`
			} `json:"params"`
		} `json:"consensus"`
	}
	require.NoError(t, json.Unmarshal(content, &document))
	require.Len(t, document.AppState.Staking.Delegations, 2)
	for _, delegation := range document.AppState.Staking.Delegations {
		require.Equal(t, document.Consensus.Params.Authority.Authority, delegation.Delegator)
	}
	access := document.AppState.EVM.Params.Access
	require.Equal(t, "ACCESS_TYPE_PERMISSIONED", access.Create.Type)
	require.Equal(t, "ACCESS_TYPE_PERMISSIONED", access.Call.Type)
	require.Equal(t, []string{administrator.Hex()}, access.Create.List)
	require.Equal(t, ceremony.AddressList([]common.Address{{}, common.HexToAddress("0x01"), common.HexToAddress("0x02"), administrator}), access.Call.List)
	require.Equal(t, true, document.AppState.FeeMarket.Params["no_base_fee"])
	require.Equal(t, "0.000000000000000000", document.AppState.FeeMarket.Params["min_gas_multiplier"])
}

func TestGenesis_InvalidPlan_IsRefusedWithTheReason(t *testing.T) {
	key := func(seed byte) []byte {
		private, err := crypto.ToECDSA(bytes.Repeat([]byte{seed}, 32))
		require.NoError(t, err)
		return crypto.CompressPubkey(&private.PublicKey)
	}
	several := func(p *ceremony.Plan, threshold int, keys ...[]byte) {
		p.Administrator, p.Threshold, p.AdministratorKeys, p.Deployer = common.Address{}, threshold, keys, common.HexToAddress("0x09")
	}
	for name, test := range map[string]struct {
		change func(*ceremony.Plan)
		reason string
	}{
		"no chain id":            {func(p *ceremony.Plan) { p.ChainID = " " }, "--chain-id"},
		"long chain id":          {func(p *ceremony.Plan) { p.ChainID = strings.Repeat("x", 51) }, "--chain-id"},
		"no EVM chain id":        {func(p *ceremony.Plan) { p.EVMChainID = 0 }, "--evm-chain-id"},
		"chain id of a trial":    {func(p *ceremony.Plan) { p.EVMChainID = 31337 }, "for trying"},
		"same name but for case": {func(p *ceremony.Plan) { p.Validators[0].Name = "ＨＯＳＰＩＴＡＬ a" }, "share"},
		"Latin and Cyrillic":     {func(p *ceremony.Plan) { p.Validators[0].Name = "H\u0430nok" }, "scripts"},
		"no time":                {func(p *ceremony.Plan) { p.GenesisTime = time.Time{} }, "--genesis-time"},
		"no administrator":       {func(p *ceremony.Plan) { p.Administrator = common.Address{} }, "--administrator is required"},
		"no validator":           {func(p *ceremony.Plan) { p.Validators = nil }, "--validator"},
		"one validator twice":    {func(p *ceremony.Plan) { p.Validators = append(p.Validators, p.Validators[0]) }, "share"},
		"same consensus key":     {func(p *ceremony.Plan) { p.Validators[0].ConsensusPublicKey = p.Validators[1].ConsensusPublicKey }, "share"},
		"short consensus key":    {func(p *ceremony.Plan) { p.Validators[0].ConsensusPublicKey = "00ff" }, "32 bytes"},
		"node id of nonsense":    {func(p *ceremony.Plan) { p.Validators[0].NodeID = "xyz" }, "40 hexadecimal"},
		"name with line break":   {func(p *ceremony.Plan) { p.Validators[0].Name = "a\nb" }, "name"},
		"two kinds of administrator": {func(p *ceremony.Plan) {
			several(p, 1, key(1))
			p.Administrator = administrator
		}, "not both"},
		"threshold above keys":        {func(p *ceremony.Plan) { several(p, 3, key(1), key(2)) }, "--administrator-multisig"},
		"threshold of zero":           {func(p *ceremony.Plan) { several(p, 0, key(1), key(2)) }, "--administrator-multisig"},
		"administrator key twice":     {func(p *ceremony.Plan) { several(p, 2, key(1), key(1)) }, "twice"},
		"administrator key too short": {func(p *ceremony.Plan) { several(p, 1, key(1)[1:]) }, "33 bytes"},
		"multi-signature without deployer": {func(p *ceremony.Plan) {
			several(p, 1, key(1))
			p.Deployer = common.Address{}
		}, "--deployer"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := plan(t)
			test.change(&changed)
			_, err := ceremony.Genesis(changed)
			require.ErrorContains(t, err, test.reason)
		})
	}
}

func TestInspect_OtherDocuments_AreRefused(t *testing.T) {
	content, err := ceremony.Genesis(plan(t))
	require.NoError(t, err)
	for name, document := range map[string][]byte{
		"nonsense": []byte("{"), "empty": []byte("{}"),
		"other application":      bytes.ReplaceAll(content, []byte(`"phr-chain"`), []byte(`"evmd"`)),
		"no administrator limit": bytes.Replace(content, []byte(`"chain_id": "phr-test"`), []byte(`"chain_id": ""`), 1),
	} {
		_, err := ceremony.Inspect(document)
		require.Error(t, err, name)
	}
}

func TestMakeKeys_Again_NeverOverwritesAKey(t *testing.T) {
	home := filepath.Join(t.TempDir(), "node")
	made, err := ceremony.MakeKeys(home, "서울병원")
	require.NoError(t, err)
	for _, file := range []string{"config/priv_validator_key.json", "config/node_key.json", "data/priv_validator_state.json"} {
		info, err := os.Stat(filepath.Join(home, file))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
	}
	read, err := ceremony.ReadValidatorIdentity(filepath.Join(home, "validator.json"))
	require.NoError(t, err)
	require.Equal(t, made, read)
	public, err := os.ReadFile(filepath.Join(home, "validator.json"))
	require.NoError(t, err)
	require.NotContains(t, string(public), "priv")

	key, err := os.ReadFile(filepath.Join(home, "config/priv_validator_key.json"))
	require.NoError(t, err)
	_, err = ceremony.MakeKeys(home, "서울병원")
	require.ErrorContains(t, err, "never overwritten")
	after, err := os.ReadFile(filepath.Join(home, "config/priv_validator_key.json"))
	require.NoError(t, err)
	require.Equal(t, key, after)
}

func TestReadValidatorIdentity_UnfitFile_IsRefused(t *testing.T) {
	good, err := json.Marshal(identity(t, "Hospital"))
	require.NoError(t, err)
	for name, content := range map[string]string{
		"too large":     string(good) + strings.Repeat(" ", 5000),
		"unknown field": strings.Replace(string(good), "{", `{"priv_key":"x",`, 1),
		"not JSON":      "validator",
		"bad name":      strings.Replace(string(good), "Hospital", "../x", 1),
	} {
		path := filepath.Join(t.TempDir(), "validator.json")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := ceremony.ReadValidatorIdentity(path)
		require.Error(t, err, name)
	}
}
