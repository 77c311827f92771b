package client

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/keyhold/keyhold/api/keyhold/v1/keyholdv1connect"
)

// maxAnswer bounds one answer of the server, in bytes.
const maxAnswer = 32 << 20

// Client calls one Keyhold server. It is safe for concurrent use.
type Client struct {
	namespace string
	userAgent string
	timeout   time.Duration
	retry     Retry
	token     func(context.Context) (string, error)
	http      *http.Client

	keys     keyholdv1connect.KeyServiceClient
	crypto   keyholdv1connect.CryptoServiceClient
	transfer keyholdv1connect.TransferServiceClient
	admin    keyholdv1connect.AdminServiceClient
	audit    keyholdv1connect.AuditServiceClient
	operator keyholdv1connect.OperatorServiceClient
	usage    keyholdv1connect.UsageServiceClient
	dataKeys keyholdv1connect.DataKeyServiceClient
	approval keyholdv1connect.ApprovalServiceClient

	destruction keyholdv1connect.DestructionServiceClient
	inventory   keyholdv1connect.InventoryServiceClient
}

// New makes a client. It does not connect yet.
func New(cfg Config) (*Client, error) {
	transport, base, err := cfg.transport()
	if err != nil {
		return nil, err
	}
	c := &Client{
		namespace: cfg.Namespace, userAgent: cfg.UserAgent, timeout: cfg.Timeout, retry: cfg.Retry.withDefaults(), token: cfg.TokenSource,
		http: &http.Client{
			Transport: transport,
			// A redirect could carry the token to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if c.userAgent == "" {
		c.userAgent = "keyhold-go"
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.token == nil {
		token := cfg.Token
		c.token = func(context.Context) (string, error) { return token, nil }
	}
	options := []connect.ClientOption{connect.WithProtoJSON(), connect.WithReadMaxBytes(maxAnswer)}
	c.keys = keyholdv1connect.NewKeyServiceClient(c.http, base, options...)
	c.crypto = keyholdv1connect.NewCryptoServiceClient(c.http, base, options...)
	c.transfer = keyholdv1connect.NewTransferServiceClient(c.http, base, options...)
	c.admin = keyholdv1connect.NewAdminServiceClient(c.http, base, options...)
	c.audit = keyholdv1connect.NewAuditServiceClient(c.http, base, options...)
	c.operator = keyholdv1connect.NewOperatorServiceClient(c.http, base, options...)
	c.destruction = keyholdv1connect.NewDestructionServiceClient(c.http, base, options...)
	c.usage = keyholdv1connect.NewUsageServiceClient(c.http, base, options...)
	c.approval = keyholdv1connect.NewApprovalServiceClient(c.http, base, options...)
	c.inventory = keyholdv1connect.NewInventoryServiceClient(c.http, base, options...)
	c.dataKeys = keyholdv1connect.NewDataKeyServiceClient(c.http, base, options...)
	return c, nil
}

// InNamespace is the same client, with the same connections, for another namespace.
func (c *Client) InNamespace(namespace string) *Client {
	other := *c
	other.namespace = namespace
	return &other
}

// Close closes connections that are idle. The client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }
