package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	abci "github.com/cometbft/cometbft/abci/types"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
)

// altered returns a transaction of the administrator's with its parts changed: whoever may connect can
// write such bytes, without any key.
func (c *chain) altered(t *testing.T, change func(*txtypes.TxBody, *txtypes.AuthInfo, *txtypes.TxRaw)) []byte {
	t.Helper()
	var raw txtypes.TxRaw
	require.NoError(t, raw.Unmarshal(c.cosmos(t, []sdk.Msg{send(administrator, member)}, administrator)))
	var body txtypes.TxBody
	require.NoError(t, body.Unmarshal(raw.BodyBytes))
	var info txtypes.AuthInfo
	require.NoError(t, info.Unmarshal(raw.AuthInfoBytes))
	change(&body, &info, &raw)
	var err error
	raw.BodyBytes, err = body.Marshal()
	require.NoError(t, err)
	raw.AuthInfoBytes, err = info.Marshal()
	require.NoError(t, err)
	content, err := raw.Marshal()
	require.NoError(t, err)
	return content
}

func TestAttack_MalformedTransactionOfANode_IsRefusedAndEndsNoProcess(t *testing.T) {
	for name, change := range map[string]func(*txtypes.TxBody, *txtypes.AuthInfo, *txtypes.TxRaw){
		"no message, the administrator as payer": func(body *txtypes.TxBody, info *txtypes.AuthInfo, raw *txtypes.TxRaw) {
			body.Messages, info.SignerInfos, raw.Signatures = nil, nil, nil
			info.Fee.Payer = accountOf(administrator).String()
		},
		"no public key": func(_ *txtypes.TxBody, info *txtypes.AuthInfo, _ *txtypes.TxRaw) {
			info.SignerInfos[0].PublicKey = nil
		},
		"another's public key": func(_ *txtypes.TxBody, info *txtypes.AuthInfo, _ *txtypes.TxRaw) {
			info.SignerInfos[0].PublicKey = &codectypes.Any{TypeUrl: info.SignerInfos[0].PublicKey.TypeUrl}
		},
		"fewer signatures than signers": func(_ *txtypes.TxBody, info *txtypes.AuthInfo, _ *txtypes.TxRaw) {
			info.SignerInfos = append(info.SignerInfos, info.SignerInfos[0])
		},
		"no signature": func(_ *txtypes.TxBody, _ *txtypes.AuthInfo, raw *txtypes.TxRaw) { raw.Signatures = nil },
		"a signature of nothing": func(_ *txtypes.TxBody, _ *txtypes.AuthInfo, raw *txtypes.TxRaw) {
			raw.Signatures[0] = make([]byte, 64)
		},
		"no signer": func(_ *txtypes.TxBody, info *txtypes.AuthInfo, raw *txtypes.TxRaw) {
			info.SignerInfos, raw.Signatures = nil, nil
		},
		"no fee": func(_ *txtypes.TxBody, info *txtypes.AuthInfo, _ *txtypes.TxRaw) { info.Fee = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			transaction := c.altered(t, change)
			checked, err := c.CheckTx(&abci.RequestCheckTx{Tx: transaction, Type: abci.CheckTxType_New})
			require.NoError(t, err)
			require.NotZero(t, checked.Code, "CometBFT's RPC")
			inserted, err := c.InsertTx(&abci.RequestInsertTx{Tx: transaction})
			require.NoError(t, err)
			require.NotZero(t, inserted.Code, "from a peer")
			if decoded, err := c.Encoding().TxConfig.TxDecoder()(transaction); err == nil {
				require.Error(t, c.Mempool.Insert(context.Background(), decoded), "eth_sendRawTransaction")
			}
			require.Never(t, func() bool { return c.Mempool.CountTx() > 0 }, 300*time.Millisecond, 50*time.Millisecond)
			require.Equal(t, abci.ResponseProcessProposal_REJECT, c.propose(t, transaction), "in a dishonest proposal")
			require.NotZero(t, c.block(t, transaction)[0].Code, "in a block")
		})
	}
}
