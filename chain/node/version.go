package node

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// LibraryVersions are the versions of what the chain is made of, as the binary was built.
type LibraryVersions struct {
	Go         string `json:"go"`
	CometBFT   string `json:"cometbft"`
	CosmosSDK  string `json:"cosmos-sdk"`
	EVM        string `json:"evm"`
	GoEthereum string `json:"go-ethereum"` // of the fork that cosmos/evm is built with
}

// Versions reads the versions from the binary; a field is empty where it carries none.
func Versions() LibraryVersions {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return LibraryVersions{}
	}
	versions := LibraryVersions{Go: build.GoVersion}
	fields := map[string]*string{
		"github.com/cometbft/cometbft": &versions.CometBFT, "github.com/cosmos/cosmos-sdk": &versions.CosmosSDK,
		"github.com/cosmos/evm": &versions.EVM, "github.com/ethereum/go-ethereum": &versions.GoEthereum,
	}
	for _, dependency := range build.Deps {
		if field := fields[dependency.Path]; field != nil {
			*field = dependency.Version
			if dependency.Replace != nil {
				*field = dependency.Replace.Version
			}
		}
	}
	return versions
}

// ClientVersion is what web3_clientVersion answers.
func (versions LibraryVersions) ClientVersion() string {
	return fmt.Sprintf("phr-chain/evm-%s/cometbft-%s/%s", strings.TrimPrefix(versions.EVM, "v"), strings.TrimPrefix(versions.CometBFT, "v"), versions.Go)
}
