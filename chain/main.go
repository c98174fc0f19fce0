// Command phr-chain makes, configures, runs and administers a node of the consortium's chain.
package main

import (
	"fmt"
	"os"

	"phr.example/chain/command"
)

func main() {
	if err := command.Root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "phr-chain: "+command.OneLine(err))
		os.Exit(1)
	}
}
