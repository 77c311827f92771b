package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// AWS is what the AWS dialect is told.
type AWS struct {
	Accounts map[kms.Namespace]string // 12 digits
	Skew     time.Duration            // between the clocks of server and signer
}

const (
	maxAccounts  = 10_000
	accountDigit = 12
)

// accounts makes a row for account numbers of namespaces. No two namespaces can have one number.
func accounts(name string, at func(*Config) *map[kms.Namespace]string, help string) setting {
	return setting{name: name, form: "NAMESPACE=12-DIGITS, as in default=111122223333; or a list of them", help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
			if len(vs) > maxAccounts {
				return fmt.Errorf("%d accounts are more than %d", len(vs), maxAccounts)
			}
			all, taken := map[kms.Namespace]string{}, map[string]bool{}
			for _, v := range vs {
				of, number, ok := strings.Cut(v, "=")
				ns, err := kms.ParseNamespace(of)
				if !ok || err != nil || len(number) != accountDigit || strings.Trim(number, "0123456789") != "" {
					return fmt.Errorf("%q is not a namespace, an equals sign and 12 digits", clip(v))
				}
				if _, twice := all[ns]; twice || taken[number] {
					return fmt.Errorf("%q: the namespace or the number is there twice", clip(v))
				}
				all[ns], taken[number] = number, true
			}
			*at(c) = all
			return nil
		}}
}
