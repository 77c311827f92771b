package client

import (
	"context"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// RotateKeyTo makes a new primary version of another algorithm that serves the same usage, at once. What older versions made goes on opening.
func (c *Client) RotateKeyTo(ctx context.Context, key, algorithm string, options ...Option) (Key, error) {
	return keyOf(invoke(ctx, c, c.keys.RotateKey, &keyholdv1.RotateKeyRequest{Key: key, Algorithm: algorithm}, changes, options))
}
