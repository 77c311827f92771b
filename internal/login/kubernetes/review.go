package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// Limits of questions to clusters.
const (
	atOnce     = 16
	reviewTime = 10 * time.Second
	maxAnswer  = 256 << 10 // bytes
)

const (
	apiVersion  = "authentication.k8s.io/v1"
	kindReview  = "TokenReview"
	reviewPath  = "/apis/" + apiVersion + "/tokenreviews"
	accountUser = "system:serviceaccount:"
)

// review is a TokenReview, as far as it matters.
type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token,omitzero"`
		Audiences []string `json:"audiences,omitzero"`
	} `json:"spec"`
	Status struct {
		Authenticated bool     `json:"authenticated"`
		Error         string   `json:"error"`
		Audiences     []string `json:"audiences"`
		User          struct {
			Username string `json:"username"`
			UID      string `json:"uid"`
		} `json:"user"`
	} `json:"status,omitzero"`
}

// review asks the cluster whose a token is, for an audience (empty: the cluster's own), with the token of a reviewer.
func (m *Method) review(ctx context.Context, c *config, reviewer, token, audience string) (*account, error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return nil, kms.Errorf(kms.CodeCancelled, "the request ended while other tokens were reviewed").Because(ctx.Err())
	}
	q := review{APIVersion: apiVersion, Kind: kindReview}
	if q.Spec.Token = token; audience != "" {
		q.Spec.Audiences = []string{audience}
	}
	body, err := json.Marshal(&q)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	var a review
	if err := post(ctx, c, reviewer, body, &a); err != nil {
		return nil, kms.Errorf(kms.CodeIssuer, "the cluster could not be asked whose the token is").Because(err)
	}
	return a.account(audience)
}

// account is the service account that a cluster says a token is of.
func (a *review) account(audience string) (*account, error) {
	switch {
	case a.Kind != kindReview || a.APIVersion != apiVersion:
		return nil, kms.Errorf(kms.CodeIssuer, "the cluster could not be asked whose the token is").Because(errors.New("it answers something else than a review"))
	case !a.Status.Authenticated || a.Status.Error != "":
		return nil, login.Refuse("the cluster does not know it: %s", login.Clip(a.Status.Error))
	case audience != "" && !slices.Contains(a.Status.Audiences, audience): // the cluster may not know of audiences: then it has not looked at them
		return nil, login.Refuse("the cluster does not say that it is for the audience %q", login.Clip(audience))
	}
	who, is := strings.CutPrefix(a.Status.User.Username, accountUser)
	namespace, name, ok := strings.Cut(who, ":")
	if !is || !ok || namespace == "" || name == "" || strings.Contains(name, ":") {
		return nil, login.Refuse("it is the token of %q, which is no service account", login.Clip(a.Status.User.Username))
	}
	return &account{namespace, name, a.Status.User.UID}, nil
}

// post sends a review. What failed says nothing of the tokens.
func post(ctx context.Context, c *config, reviewer string, body []byte, to *review) error {
	roots, err := c.roots()
	if err != nil {
		return err
	}
	wire := &http.Client{
		Timeout:       reviewTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the cluster sends elsewhere") },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: maxAnswer},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.Host, "/")+reviewPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+reviewer)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	res, err := wire.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK && res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("it answers %s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(b) > maxAnswer:
		return fmt.Errorf("it answers more than %d bytes", maxAnswer)
	}
	defer clear(b) // it repeats the token
	return json.Unmarshal(b, to)
}
