// Package ceremony makes a chain from files: each organisation makes its own keys and hands over the
// public half, and anyone makes the same genesis from the same public halves.
package ceremony

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
)

// ValidatorIdentity is the public half of a node: validator.json, which an organisation hands over.
type ValidatorIdentity struct {
	Name               string `json:"name"`
	NodeID             string `json:"node_id"`              // hexadecimal address of the node's connection key
	ConsensusPublicKey string `json:"consensus_public_key"` // Ed25519, 32 bytes in hexadecimal
}

const maximumIdentityBytes = 4096

var nodeIDPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)

// publicKey returns the consensus key, after checking every field.
func (identity ValidatorIdentity) publicKey() (ed25519.PubKey, error) {
	if err := checkName(identity.Name); err != nil {
		return nil, err
	}
	if !nodeIDPattern.MatchString(identity.NodeID) {
		return nil, fmt.Errorf("node_id %q: expected 40 hexadecimal digits", identity.NodeID)
	}
	key, err := hex.DecodeString(identity.ConsensusPublicKey)
	if err != nil || len(key) != ed25519.PubKeySize {
		return nil, fmt.Errorf("consensus_public_key of %s: expected %d bytes in hexadecimal", identity.Name, ed25519.PubKeySize)
	}
	return ed25519.PubKey(key), nil
}

// ReadValidatorIdentity reads and checks a validator.json.
func ReadValidatorIdentity(path string) (ValidatorIdentity, error) {
	var identity ValidatorIdentity
	info, err := os.Stat(path)
	if err != nil {
		return identity, err
	}
	if info.Size() > maximumIdentityBytes {
		return identity, fmt.Errorf("%s: %d bytes; a validator.json has at most %d", path, info.Size(), maximumIdentityBytes)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return identity, err
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&identity); err != nil {
		return identity, fmt.Errorf("%s is not a validator.json: %w", path, err)
	}
	if _, err := identity.publicKey(); err != nil {
		return identity, fmt.Errorf("%s: %w", path, err)
	}
	return identity, nil
}

// MakeKeys makes a node's connection key and consensus key (files of mode 0600 under home/config) and
// writes their public half to home/validator.json. It refuses a home that has a key already: a consensus
// key that is made anew, or that signs in two places, endangers the chain.
func MakeKeys(home, name string) (ValidatorIdentity, error) {
	config, data := filepath.Join(home, "config"), filepath.Join(home, "data")
	keyFile, stateFile := filepath.Join(config, "priv_validator_key.json"), filepath.Join(data, "priv_validator_state.json")
	nodeKeyFile := filepath.Join(config, "node_key.json")
	if err := checkName(name); err != nil {
		return ValidatorIdentity{}, fmt.Errorf("--name: %w", err)
	}
	for _, file := range []string{keyFile, stateFile, nodeKeyFile} {
		if _, err := os.Lstat(file); !os.IsNotExist(err) {
			return ValidatorIdentity{}, fmt.Errorf("%s exists: keys are never overwritten", file)
		}
	}
	for _, directory := range []string{home, config, data} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return ValidatorIdentity{}, err
		}
	}
	nodeKey, err := p2p.LoadOrGenNodeKey(nodeKeyFile)
	if err != nil {
		return ValidatorIdentity{}, fmt.Errorf("make the node key: %w", err)
	}
	consensusKey := privval.GenFilePV(keyFile, stateFile)
	consensusKey.Save()
	identity := ValidatorIdentity{
		Name:               name,
		NodeID:             string(nodeKey.ID()),
		ConsensusPublicKey: hex.EncodeToString(consensusKey.Key.PubKey.Bytes()),
	}
	content, err := json.MarshalIndent(identity, "", "  ")
	if err != nil {
		return ValidatorIdentity{}, err
	}
	return identity, os.WriteFile(filepath.Join(home, "validator.json"), append(content, '\n'), 0o644)
}
