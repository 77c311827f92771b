package awstest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// What clients on HashiCorp's base library, Terraform's provider among them, ask at their start.
func TestCallerIdentity(t *testing.T) {
	dev.setenv(t)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	me := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))
	if *me.Account != account || !strings.HasPrefix(*me.Arn, "arn:aws:iam::"+account+":") || *me.UserId == "" {
		t.Errorf("got account %s, arn %s, id %s", *me.Account, *me.Arn, *me.UserId)
	}
	cfg.Credentials = awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) { return dev.accessKey(t, "sts-nobody"), nil })
	somebody := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))
	if want := "arn:aws:iam::" + account + ":user/sts-nobody"; *somebody.Arn != want {
		t.Errorf("got %s, want %s", *somebody.Arn, want)
	}
	cfg.Credentials = awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
		return awssdk.Credentials{AccessKeyID: dev.env["AWS_ACCESS_KEY_ID"], SecretAccessKey: "wrong"}, nil
	})
	coded(t, "SignatureDoesNotMatch")(sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))
}

// dropping loses the first answer of every other request, as a network does.
type dropping struct {
	http.RoundTripper
	sent atomic.Int32
}

func (d *dropping) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := d.RoundTripper.RoundTrip(r)
	if err != nil || d.sent.Add(1)%2 == 0 {
		return res, err
	}
	_, _ = io.Copy(io.Discard, res.Body) // what is lost is whole
	_ = res.Body.Close()
	return nil, io.ErrUnexpectedEOF
}

// TestTheSDKAsksAgain loses answers: the SDK signs and sends again by itself.
func TestTheSDKAsksAgain(t *testing.T) {
	key, lossy := symmetricKey(t), &dropping{RoundTripper: dev.web(t).Transport}
	c := sdk(t, func(o *kms.Options) { o.HTTPClient = &http.Client{Transport: lossy} })
	for range 5 {
		sealed := must[*kms.EncryptOutput](t)(c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("hello")}))
		if got := must[*kms.DecryptOutput](t)(c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})); !bytes.Equal(got.Plaintext, []byte("hello")) {
			t.Errorf("got %q", got.Plaintext)
		}
	}
	must[*kms.DisableKeyOutput](t)(c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key})) // twice the same is no mistake
	if n := lossy.sent.Load(); n != 22 {
		t.Errorf("%d requests were sent, want 22", n)
	}
}
