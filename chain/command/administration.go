package command

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"phr.example/chain/administration"
	"phr.example/chain/node"
)

const maximumProposalBytes = 8 << 20

// connectionFlags says which node is asked: the one of a home directory, or any by its URL.
type connectionFlags struct{ home, url string }

func (flags *connectionFlags) define(cmd *cobra.Command) {
	cmd.Flags().StringVar(&flags.home, "home", "", "home directory of a node on this machine")
	cmd.Flags().StringVar(&flags.url, "comet-rpc", "", "its CometBFT RPC, such as http://127.0.0.1:26657, instead")
	cmd.MarkFlagsOneRequired("home", "comet-rpc")
	cmd.MarkFlagsMutuallyExclusive("home", "comet-rpc")
}

func (flags *connectionFlags) connect() (*administration.Chain, error) {
	url := flags.url
	if url == "" {
		var err error
		if url, err = node.CometURL(flags.home); err != nil {
			return nil, err
		}
	}
	return administration.Connect(url)
}

func statusCommand() *cobra.Command {
	var flags connectionFlags
	cmd := &cobra.Command{
		Use: "status (--home DIR | --comet-rpc URL)", Short: "Height, peers, validators and members as a node sees them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chain, err := flags.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*time.Second)
			defer cancel()
			status, err := chain.Status(ctx)
			if err != nil {
				return err
			}
			if flags.home != "" {
				if status.GenesisSHA256, err = node.GenesisSHA256(flags.home); err != nil {
					return err
				}
			}
			return print(cmd, status)
		},
	}
	flags.define(cmd)
	return cmd
}

func proposeCommand() *cobra.Command {
	var flags connectionFlags
	var out string
	var confirm []string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "propose (member-add|member-remove ADDRESS | validator-add FILE | validator-remove NAME|ADDRESS) --out FILE",
		Short: "Write an unsigned transaction of the administrator, with the digest to sign", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			chain, err := flags.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*time.Second)
			defer cancel()
			proposal, err := chain.Propose(ctx, arguments[0], arguments[1])
			if err != nil {
				return err
			}
			for _, url := range confirm {
				other, err := administration.Connect(url)
				if err != nil {
					return err
				}
				if err := other.Check(ctx, proposal, arguments[0], arguments[1]); err != nil {
					return fmt.Errorf("%s: %w", url, err)
				}
			}
			content, err := json.MarshalIndent(proposal, "", "  ")
			if err != nil {
				return err
			}
			if err := node.WriteNew(out, append(content, '\n'), overwrite); err != nil {
				return err
			}
			return print(cmd, map[string]any{"out": out, "effect": proposal.Effect, "digest": proposal.Digest, "threshold": proposal.Threshold, "administrator": proposal.Administrator})
		},
	}
	flags.define(cmd)
	cmd.Flags().StringVar(&out, "out", "proposal.json", "file to write")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace the file if it is there with other content")
	cmd.Flags().StringArrayVar(&confirm, "confirm", nil, "CometBFT RPC of another node that must tell the same; repeat")
	return cmd
}

func checkCommand() *cobra.Command {
	var flags connectionFlags
	var path string
	cmd := &cobra.Command{
		Use:   "check (member-add|member-remove ADDRESS | validator-add FILE | validator-remove NAME|ADDRESS) --proposal FILE",
		Short: "Whether somebody's proposal is, from what an own node tells, this action and nothing else", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			proposal, err := readProposal(path)
			if err != nil {
				return err
			}
			chain, err := flags.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*time.Second)
			defer cancel()
			if err := chain.Check(ctx, proposal, arguments[0], arguments[1]); err != nil {
				return err
			}
			return print(cmd, map[string]any{"proposal": path, "effect": proposal.Effect, "digest": proposal.Digest})
		},
	}
	flags.define(cmd)
	cmd.Flags().StringVar(&path, "proposal", "", "file that propose wrote")
	require(cmd, "proposal")
	return cmd
}

func readProposal(path string) (*administration.Proposal, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maximumProposalBytes {
		return nil, fmt.Errorf("%s: %d bytes; a proposal has at most %d", path, info.Size(), maximumProposalBytes)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	proposal := &administration.Proposal{}
	if err := json.Unmarshal(content, proposal); err != nil {
		return nil, fmt.Errorf("%s is not a proposal: %w", path, err)
	}
	return proposal, nil
}

func submitCommand() *cobra.Command {
	var flags connectionFlags
	var path string
	var signatures []string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "submit --proposal FILE --signature HEX", Short: "Send a signed proposal and wait for its block", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			proposal, err := readProposal(path)
			if err != nil {
				return err
			}
			chain, err := flags.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			submitted, err := chain.Submit(ctx, proposal, signatures)
			if err != nil {
				return err
			}
			return print(cmd, submitted)
		},
	}
	flags.define(cmd)
	cmd.Flags().StringVar(&path, "proposal", "", "file that propose wrote")
	cmd.Flags().StringArrayVar(&signatures, "signature", nil, "signature of the digest, 65 bytes in hexadecimal; repeat for several administrators")
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the block")
	require(cmd, "proposal", "signature")
	return cmd
}
