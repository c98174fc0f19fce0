package administration

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/evm/crypto/ethsecp256k1"

	"github.com/cosmos/cosmos-sdk/crypto/keys/multisig"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	multisigtypes "github.com/cosmos/cosmos-sdk/crypto/types/multisig"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
)

// Submitted says in which block a proposal took effect.
type Submitted struct {
	Action string `json:"action"`
	Effect string `json:"effect"`
	Height int64  `json:"height"`
	Hash   string `json:"hash"` // of the transaction, as CometBFT names it
}

const pollInterval = 100 * time.Millisecond

// Submit signs a proposal with the administrators' signatures (65 bytes each: r, s, recovery id), sends
// it, and waits until ctx ends for its block. Sending the same proposal again returns the same block.
func (chain *Chain) Submit(ctx context.Context, proposal *Proposal, signatures []string) (*Submitted, error) {
	content, err := hex.DecodeString(proposal.Transaction)
	if err != nil {
		return nil, fmt.Errorf("transaction of the proposal: %w", err)
	}
	tx, err := chain.encoding.TxConfig.TxDecoder()(content)
	if err != nil {
		return nil, fmt.Errorf("transaction of the proposal: %w", err)
	}
	administrator := common.HexToAddress(proposal.Administrator)
	signBytes, err := chain.signBytes(ctx, proposal, administrator.Bytes(), tx)
	if err != nil {
		return nil, err
	}
	digest := crypto.Keccak256Hash(signBytes)
	if digest.Hex() != proposal.Digest {
		return nil, fmt.Errorf("the proposal was altered: its digest is %s, its transaction's %s", proposal.Digest, digest.Hex())
	}
	key, data, err := proposal.combine(digest, administrator, signatures)
	if err != nil {
		return nil, err
	}
	builder, err := chain.encoding.TxConfig.WrapTxBuilder(tx)
	if err != nil {
		return nil, err
	}
	if err := builder.SetSignatures(signing.SignatureV2{PubKey: key, Data: data, Sequence: proposal.Sequence}); err != nil {
		return nil, err
	}
	signed, err := chain.encoding.TxConfig.TxEncoder()(builder.GetTx())
	if err != nil {
		return nil, err
	}
	return chain.send(ctx, proposal, signed)
}

func (chain *Chain) send(ctx context.Context, proposal *Proposal, signed cmttypes.Tx) (*Submitted, error) {
	hash := signed.Hash()
	if found, err := chain.comet.Tx(ctx, hash, false); err == nil && found.TxResult.IsOK() {
		return &Submitted{proposal.Action, proposal.Effect, found.Height, strings.ToUpper(hex.EncodeToString(hash))}, nil
	}
	answer, err := chain.comet.BroadcastTxSync(ctx, signed)
	if err != nil {
		return nil, fmt.Errorf("send to the node: %w", err)
	}
	if answer.Code != 0 {
		return nil, fmt.Errorf("the node refuses the transaction: %s", answer.Log)
	}
	for {
		if found, err := chain.comet.Tx(ctx, hash, false); err == nil {
			if !found.TxResult.IsOK() {
				return nil, fmt.Errorf("block %d rejects the transaction: %s", found.Height, found.TxResult.Log)
			}
			return &Submitted{proposal.Action, proposal.Effect, found.Height, strings.ToUpper(hex.EncodeToString(hash))}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("sent, but in no block yet; submit the same proposal again to ask (%w)", ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// combine recovers who signed and makes the transaction's signature.
func (proposal *Proposal) combine(digest common.Hash, administrator common.Address, signatures []string) (cryptotypes.PubKey, signing.SignatureData, error) {
	single := func(signature []byte) *signing.SingleSignatureData {
		return &signing.SingleSignatureData{SignMode: signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON, Signature: signature}
	}
	if len(signatures) < proposal.Threshold {
		return nil, nil, fmt.Errorf("%d signatures; this administrator needs %d", len(signatures), proposal.Threshold)
	}
	keys, values := [][]byte{}, [][]byte{}
	for _, text := range signatures {
		key, value, err := recoverSigner(digest, text)
		if err != nil {
			return nil, nil, err
		}
		keys, values = append(keys, key), append(values, value)
	}
	if len(proposal.PublicKeys) == 0 {
		key := &ethsecp256k1.PubKey{Key: keys[0]}
		if signer := common.BytesToAddress(key.Address()); signer != administrator || len(signatures) != 1 {
			return nil, nil, fmt.Errorf("%d signatures, the first by %s; expected one by the administrator %s", len(signatures), signer, administrator)
		}
		return key, single(values[0]), nil
	}
	members := []cryptotypes.PubKey{}
	for _, text := range proposal.PublicKeys {
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != ethsecp256k1.PubKeySize {
			return nil, nil, fmt.Errorf("public key %q of the proposal: expected 33 bytes in hexadecimal", text)
		}
		members = append(members, &ethsecp256k1.PubKey{Key: key})
	}
	joint := multisig.NewLegacyAminoPubKey(proposal.Threshold, members)
	if common.BytesToAddress(joint.Address()) != administrator {
		return nil, nil, fmt.Errorf("the proposal's public keys are not those of the administrator %s", administrator)
	}
	data, signers := multisigtypes.NewMultisig(len(members)), 0
	for i, key := range keys {
		for _, earlier := range keys[:i] {
			if bytes.Equal(earlier, key) {
				return nil, nil, fmt.Errorf("two signatures are by the same key %s", hex.EncodeToString(key))
			}
		}
		if err := multisigtypes.AddSignatureFromPubKey(data, single(values[i]), &ethsecp256k1.PubKey{Key: key}, members); err != nil {
			return nil, nil, fmt.Errorf("the signature by %s: not a key of the administrator", hex.EncodeToString(key))
		}
		signers++
	}
	return joint, data, nil
}

// recoverSigner returns the compressed public key that made a signature, and the signature's r and s.
func recoverSigner(digest common.Hash, text string) (key, value []byte, err error) {
	signature, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil || len(signature) != crypto.SignatureLength {
		return nil, nil, fmt.Errorf("--signature: expected %d bytes in hexadecimal: r, s and the recovery id", crypto.SignatureLength)
	}
	if signature[64] >= 27 {
		signature[64] -= 27
	}
	public, err := crypto.SigToPub(digest.Bytes(), signature)
	if err != nil {
		return nil, nil, fmt.Errorf("--signature is no signature of this proposal's digest: %w", err)
	}
	return crypto.CompressPubkey(public), signature[:64], nil
}
