package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"phr.example/chain/ceremony"
)

// The JSON-RPC server offers the exported methods of these types; a method added to one of them is
// offered to whoever reaches the port, so the list is written down twice.
func TestJSONRPC_MethodsOffered_AreExactlyTheAllowlist(t *testing.T) {
	allowed := strings.Fields(`eth_blockNumber eth_call eth_chainId eth_estimateGas eth_feeHistory eth_gasPrice
		eth_getBalance eth_getBlockByHash eth_getBlockByNumber eth_getBlockReceipts eth_getBlockTransactionCountByNumber
		eth_getCode eth_getLogs eth_getProof eth_getStorageAt eth_getTransactionByHash eth_getTransactionCount
		eth_getTransactionReceipt eth_maxPriorityFeePerGas eth_sendRawTransaction eth_syncing
		net_peerCount net_version web3_clientVersion`)
	offered := []string{}
	for namespace, service := range map[string]any{"eth": &ethAPI{}, "net": &netAPI{}, "web3": &web3API{}} {
		kind := reflect.TypeOf(service)
		for i := range kind.NumMethod() {
			name := kind.Method(i).Name
			offered = append(offered, namespace+"_"+strings.ToLower(name[:1])+name[1:])
		}
	}
	require.ElementsMatch(t, allowed, offered)
}

func TestAllowedNodes_EditedWhileRunning_AreReadAgain(t *testing.T) {
	home := t.TempDir()
	nodes := allowedNodes(home)
	known, unknown := strings.Repeat("a", 40), strings.Repeat("b", 40)
	require.NoError(t, os.Mkdir(filepath.Join(home, "config"), 0o700))
	require.Error(t, nodes.permit(known), "without a file nobody connects")

	write := func(content string) {
		require.NoError(t, os.WriteFile(nodes.path(), []byte(content), 0o600))
	}
	write(`{"nodes":["` + known + `"]}`)
	require.NoError(t, nodes.permit(known))
	require.ErrorContains(t, nodes.permit(unknown), unknown)
	require.Error(t, nodes.permit(""))
	write(`{"nodes":["` + unknown + `"]}`)
	require.NoError(t, nodes.permit(unknown))
	require.Error(t, nodes.permit(known))
	write(`{"nodes":`)
	require.Error(t, nodes.permit(unknown), "a broken file permits nobody")
	write(`{"nodes":["` + known + `"]}` + strings.Repeat(" ", maximumConfigBytes))
	require.ErrorContains(t, nodes.permit(known), "larger")
}

func settings(t *testing.T) Settings {
	t.Helper()
	home := filepath.Join(t.TempDir(), "hospital")
	identity, err := ceremony.MakeKeys(home, "Hospital")
	require.NoError(t, err)
	return Settings{
		Home: home, GenesisPath: genesis(t, "phr-test", identity), P2PListen: "127.0.0.1:1", JSONRPC: "127.0.0.1:2", CometRPC: "[::1]:3",
		Peers: []string{strings.Repeat("a", 40) + "@127.0.0.1:4"}, CommitTimeout: DefaultCommitTimeout,
		EmptyBlocksInterval: DefaultEmptyBlocksInterval, Pruning: "nothing", LogLevel: "warn",
	}
}

func genesis(t *testing.T, chainID string, identity ceremony.ValidatorIdentity) string {
	t.Helper()
	content, err := ceremony.Genesis(ceremony.Plan{
		ChainID: chainID, EVMChainID: 7201, Administrator: common.HexToAddress("0x01"),
		Validators: []ceremony.ValidatorIdentity{identity}, GenesisTime: time.Unix(1_700_000_000, 0),
	})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "genesis.json")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestConfigure_WritesFiles_ThatCloseEveryOtherDoor(t *testing.T) {
	configuredSettings := settings(t)
	configured, err := Configure(configuredSettings)
	require.NoError(t, err)
	options, comet, err := load(configuredSettings.Home)
	require.NoError(t, err)
	require.True(t, comet.FilterPeers)
	require.False(t, comet.P2P.PexReactor)
	require.False(t, comet.RPC.Unsafe)
	require.Empty(t, comet.RPC.CORSAllowedOrigins)
	require.Empty(t, comet.RPC.PprofListenAddress)
	require.False(t, comet.Instrumentation.Prometheus)
	require.Equal(t, 3*time.Second, comet.P2P.HandshakeTimeout, "strangers hold their place no longer")
	require.Equal(t, 200, comet.P2P.MaxNumInboundPeers)
	require.False(t, comet.Storage.DiscardABCIResponses, "receipts of every height")
	require.Equal(t, 500*time.Millisecond, comet.Consensus.TimeoutPropose)
	require.Equal(t, 5*time.Second, comet.Consensus.CreateEmptyBlocksInterval)
	require.Equal(t, []string{strings.Repeat("a", 40)}, configured.AllowedNodes)
	require.NoError(t, allowedNodes(configuredSettings.Home).permit(strings.Repeat("a", 40)))
	for _, off := range []string{"api.enable", "grpc.enable", "grpc-web.enable", "telemetry.enabled"} {
		require.False(t, options.GetBool(off), off)
	}
	require.Equal(t, "nothing", options.GetString("pruning"))
	require.Equal(t, uint64(0), options.GetUint64("min-retain-blocks"))
	require.Equal(t, uint64(7201), options.GetUint64("evm.evm-chain-id"))
	for _, share := range []string{"evm.mempool.account-slots", "evm.mempool.account-queue"} {
		require.Equal(t, 512, options.GetInt(share), "one account leaves the others their room")
	}

	require.Equal(t, 500, options.GetInt("json-rpc.batch-request-limit"), "the receipts of all that a client has in flight")
	require.Equal(t, 32<<20, options.GetInt("json-rpc.batch-response-max-size"))
	require.EqualValues(t, 30_000_000, options.GetInt("json-rpc.gas-cap"), "as much as a transaction may declare")
	require.Equal(t, 5*time.Second, options.GetDuration("json-rpc.evm-timeout"))

	_, err = Configure(configuredSettings)
	require.NoError(t, err, "it may be run again")
}

func ids(letters string) (list []string) {
	for _, letter := range letters {
		list = append(list, strings.Repeat(string(letter), 40))
	}
	return list
}

func TestConfigure_Again_ChangesTheListOfAllowedNodesOnlyWhenAsked(t *testing.T) {
	first := settings(t)
	configured, err := Configure(first)
	require.NoError(t, err)
	require.Equal(t, ids("a"), configured.Added)
	list := allowedNodes(first.Home)
	require.NoError(t, list.write(ids("bc"))) // as the operator does: a was cut off, b and c were let in

	for _, peers := range [][]string{nil, {strings.Repeat("a", 40) + "@127.0.0.1:4"}} {
		first.Peers = peers
		configured, err = Configure(first)
		require.NoError(t, err)
		require.Equal(t, ids("bc"), configured.AllowedNodes)
		require.Empty(t, append(configured.Added, configured.Removed...))
		nodes, err := list.read()
		require.NoError(t, err)
		require.Equal(t, ids("bc"), nodes)
	}
	require.Equal(t, ids("a"), configured.NotAllowed, "a peer that may not connect is named")

	first.ReplaceAllowedNodes = true
	first.Peers = append(first.Peers, strings.Repeat("b", 40)+"@127.0.0.1:5")
	configured, err = Configure(first)
	require.NoError(t, err)
	require.Equal(t, ids("ab"), configured.AllowedNodes)
	require.Equal(t, ids("a"), configured.Added)
	require.Equal(t, ids("c"), configured.Removed)

	first.Peers = nil
	_, err = Configure(first)
	require.ErrorContains(t, err, "cut off all 2 nodes")
	require.NoError(t, os.WriteFile(list.path(), []byte(`{"nodes":`), 0o600))
	_, err = Configure(first)
	require.ErrorContains(t, err, "mend or remove it")
	left, err := filepath.Glob(filepath.Join(first.Home, "config", ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file is left")
}

func TestWriteNew_FileIsThere_IsReplacedOnlyWhenAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proposal.json")
	require.NoError(t, WriteNew(path, []byte("one"), false))
	require.NoError(t, WriteNew(path, []byte("one"), false), "the same again")
	require.ErrorContains(t, WriteNew(path, []byte("two"), false), "--overwrite")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one", string(content))
	require.NoError(t, WriteNew(path, []byte("two"), true))
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "two", string(content))
}

func TestKeepEarlier_FlagsNotGiven_StayAsConfigured(t *testing.T) {
	first := settings(t)
	first.P2PExternal, first.Prometheus, first.CommitTimeout = "hospital.example:26656", "127.0.0.1:9", time.Second
	first.EmptyBlocksInterval = 0 // a network from before there was one stays as it is
	again := Settings{Home: first.Home, GenesisPath: first.GenesisPath, EmptyBlocksInterval: DefaultEmptyBlocksInterval, Pruning: "default", P2PListen: "127.0.0.1:26656"}
	require.NoError(t, again.KeepEarlier(func(string) bool { return false }))
	require.Empty(t, again.Peers, "a home that was never configured has nothing to keep")
	_, err := Configure(first)
	require.NoError(t, err)
	require.NoError(t, again.KeepEarlier(func(flag string) bool { return flag == "pruning" }))
	first.Pruning = "default"
	require.Equal(t, first, again)
}

func TestConfigure_UnfitSettings_AreRefusedAndNothingIsWritten(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*testing.T, *Settings)
		reason string
	}{
		"public JSON-RPC":    {func(_ *testing.T, s *Settings) { s.JSONRPC = "0.0.0.0:8545" }, "loopback"},
		"public CometBFT":    {func(_ *testing.T, s *Settings) { s.CometRPC = "192.0.2.1:26657" }, "loopback"},
		"peer without id":    {func(_ *testing.T, s *Settings) { s.Peers = []string{"127.0.0.1:26656"} }, "ID@host:port"},
		"negative interval":  {func(_ *testing.T, s *Settings) { s.EmptyBlocksInterval = -time.Second }, "--empty-blocks-interval"},
		"interval of a halt": {func(_ *testing.T, s *Settings) { s.EmptyBlocksInterval = time.Minute }, "--empty-blocks-interval"},
		"unknown pruning":    {func(_ *testing.T, s *Settings) { s.Pruning = "some" }, "--pruning"},
		"no port":            {func(_ *testing.T, s *Settings) { s.P2PListen = "127.0.0.1" }, "--p2p-listen"},
		"home without keys":  {func(t *testing.T, s *Settings) { s.Home = t.TempDir() }, "phr-chain init"},
		"genesis is missing": {func(_ *testing.T, s *Settings) { s.GenesisPath += "x" }, "no such file"},
		"genesis too large": {func(t *testing.T, s *Settings) {
			s.GenesisPath = filepath.Join(t.TempDir(), "genesis.json")
			require.NoError(t, os.WriteFile(s.GenesisPath, make([]byte, maximumGenesisBytes+1), 0o600))
		}, "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := settings(t)
			test.change(t, &changed)
			_, err := Configure(changed)
			require.ErrorContains(t, err, test.reason)
			require.NoFileExists(t, filepath.Join(changed.Home, "config", "app.toml"))
		})
	}
}

func TestConfigure_GenesisOfAnotherChain_IsNotPutInTheSameHome(t *testing.T) {
	first := settings(t)
	_, err := Configure(first)
	require.NoError(t, err)
	other, err := ceremony.MakeKeys(filepath.Join(t.TempDir(), "x"), "Other")
	require.NoError(t, err)
	first.GenesisPath = genesis(t, "phr-other", other)
	_, err = Configure(first)
	require.ErrorContains(t, err, "another genesis")
}
