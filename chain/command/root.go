// Package command is phr-chain's command line: it parses, calls, and prints one JSON document.
package command

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"phr.example/chain/ceremony"
	"phr.example/chain/node"
)

// Root returns the command with all its subcommands.
func Root() *cobra.Command {
	root := &cobra.Command{
		Use: "phr-chain", Short: "Node of the consortium's chain: CometBFT consensus, Ethereum contracts, members only",
		SilenceUsage: true, SilenceErrors: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(initCommand(), genesisCommand(), configureCommand(), startCommand(), versionCommand(),
		statusCommand(), proposeCommand(), checkCommand(), submitCommand())
	return root
}

// OneLine writes an error on a single line.
func OneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func print(cmd *cobra.Command, document any) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that was not defined
		}
	}
}

func initCommand() *cobra.Command {
	var home, name string
	cmd := &cobra.Command{
		Use: "init --home DIR --name NAME", Short: "Make this node's keys, and validator.json to hand to the others", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			identity, err := ceremony.MakeKeys(home, name)
			if err != nil {
				return err
			}
			return print(cmd, identity)
		},
	}
	cmd.Flags().StringVar(&home, "home", "", "the node's directory")
	cmd.Flags().StringVar(&name, "name", "", "the validator's name")
	require(cmd, "home", "name")
	return cmd
}

func address(flag, text string) (common.Address, error) {
	if !common.IsHexAddress(text) {
		return common.Address{}, fmt.Errorf("%s %q: expected an address of 0x and 40 hexadecimal digits", flag, text)
	}
	return common.HexToAddress(text), nil
}

func genesisCommand() *cobra.Command {
	var plan ceremony.Plan
	var administrator, deployer, genesisTime, out string
	var keys, members, validators []string
	var overwrite bool
	cmd := &cobra.Command{
		Use: "genesis", Short: "Make the genesis from the public halves; the same input gives the same bytes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if administrator != "" {
				if plan.Administrator, err = address("--administrator", administrator); err != nil {
					return err
				}
			}
			if deployer != "" {
				if plan.Deployer, err = address("--deployer", deployer); err != nil {
					return err
				}
			}
			for _, text := range keys {
				key, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
				if err != nil {
					return fmt.Errorf("--administrator-key %q: expected hexadecimal digits", text)
				}
				plan.AdministratorKeys = append(plan.AdministratorKeys, key)
			}
			for _, text := range members {
				member, err := address("--member", text)
				if err != nil {
					return err
				}
				plan.Members = append(plan.Members, member)
			}
			for _, path := range validators {
				identity, err := ceremony.ReadValidatorIdentity(path)
				if err != nil {
					return err
				}
				plan.Validators = append(plan.Validators, identity)
			}
			if plan.GenesisTime, err = time.Parse(time.RFC3339, genesisTime); err != nil {
				return fmt.Errorf("--genesis-time %q: expected RFC 3339, such as 2026-11-22T09:00:00Z", genesisTime)
			}
			content, err := ceremony.Genesis(plan)
			if err != nil {
				return err
			}
			if err := node.WriteNew(out, content, overwrite); err != nil {
				return err
			}
			digest := sha256.Sum256(content)
			return print(cmd, map[string]any{"out": out, "sha256": hex.EncodeToString(digest[:]), "chain_id": plan.ChainID, "evm_chain_id": plan.EVMChainID})
		},
	}
	cmd.Flags().StringVar(&plan.ChainID, "chain-id", "", "name of the chain, such as phr-1")
	cmd.Flags().Uint64Var(&plan.EVMChainID, "evm-chain-id", 0, "EIP-155 chain id")
	cmd.Flags().StringVar(&administrator, "administrator", "", "address of the chain's administrator")
	cmd.Flags().IntVar(&plan.Threshold, "administrator-multisig", 0, "how many of the administrator keys must sign")
	cmd.Flags().StringArrayVar(&keys, "administrator-key", nil, "compressed public key (33 bytes, hexadecimal) of one administrator; repeat")
	cmd.Flags().StringVar(&deployer, "deployer", "", "address that may deploy contracts; the administrator unless given")
	cmd.Flags().StringArrayVar(&members, "member", nil, "address of a member; repeat")
	cmd.Flags().StringArrayVar(&validators, "validator", nil, "validator.json of an organisation; repeat")
	cmd.Flags().StringVar(&genesisTime, "genesis-time", "", "RFC 3339 time of the first block")
	cmd.Flags().StringVar(&out, "out", "genesis.json", "file to write")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace the file if it is there with other content")
	require(cmd, "chain-id", "evm-chain-id", "validator", "genesis-time")
	return cmd
}

func configureCommand() *cobra.Command {
	var settings node.Settings
	cmd := &cobra.Command{
		Use: "configure", Short: "Write this node's configuration; run again, it keeps what is not given", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings.KeepEarlier(cmd.Flags().Changed); err != nil {
				return err
			}
			configured, err := node.Configure(settings)
			if err != nil {
				return err
			}
			return print(cmd, configured)
		},
	}
	cmd.Flags().StringVar(&settings.Home, "home", "", "the node's directory")
	cmd.Flags().StringVar(&settings.GenesisPath, "genesis", "", "the agreed genesis.json")
	cmd.Flags().StringVar(&settings.P2PListen, "p2p-listen", "127.0.0.1:26656", "address for the other nodes")
	cmd.Flags().StringVar(&settings.P2PExternal, "p2p-external", "", "address that the others dial, if another")
	cmd.Flags().StringVar(&settings.JSONRPC, "json-rpc", "127.0.0.1:8545", "loopback address for Ethereum JSON-RPC")
	cmd.Flags().StringVar(&settings.CometRPC, "comet-rpc", "127.0.0.1:26657", "loopback address for status, propose and submit")
	cmd.Flags().StringVar(&settings.Prometheus, "prometheus", "", "loopback address for CometBFT's metrics, such as 127.0.0.1:26660; none unless given")
	cmd.Flags().StringArrayVar(&settings.Peers, "peer", nil, "ID@host:port of another node; repeat. The ids become allowed-nodes.json where there is none")
	cmd.Flags().BoolVar(&settings.ReplaceAllowedNodes, "replace-allowed-nodes", false, "let the ids of the peers, and no others, connect from now on")
	cmd.Flags().DurationVar(&settings.CommitTimeout, "commit-timeout", node.DefaultCommitTimeout, "wait between blocks")
	cmd.Flags().DurationVar(&settings.EmptyBlocksInterval, "empty-blocks-interval", node.DefaultEmptyBlocksInterval, "time between blocks while no transaction comes; 0s: as with transactions")
	cmd.Flags().StringVar(&settings.Pruning, "pruning", "nothing", "of old state: nothing (archive), default, everything; events stay for ever")
	cmd.Flags().StringVar(&settings.LogLevel, "log-level", "warn", "debug, info, warn or error")
	require(cmd, "home", "genesis")
	return cmd
}

func startCommand() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use: "start --home DIR", Short: "Run the node in the foreground until SIGTERM", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.Start(home, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&home, "home", "", "the node's directory")
	require(cmd, "home")
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Versions of the libraries that the chain is made of", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return print(cmd, node.Versions()) },
	}
}
