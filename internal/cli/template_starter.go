package cli

import "github.com/keyhold/keyhold/client"

const year = 365 * 24 * 60 * 60 // seconds

// starterTemplates are what keyhold template init stores. The cryptoperiods are within what SP 800-57 part 1 rev. 5 §5.3.6, table 1, recommends for
// originators: a signature key 1 to 3 years, keys of symmetric encryption, MAC and wrapping at most 2 years, a static key of key agreement 1 to
// 2 years. No number of messages is set: what encrypts derives a key for each message, so that SP 800-38D §8.3 does not limit them.
func starterTemplates() []client.Template {
	described := []string{"owner", "purpose"}
	return []client.Template{
		{
			Name: "public", DataClass: "public", DefaultOfClass: true, Description: "data that may be known: its integrity counts",
			Algorithm: "aes-256-gcm", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year},
		},
		{
			Name: "internal", DataClass: "internal", DefaultOfClass: true, Description: "data for the organisation",
			Algorithm: "aes-256-gcm", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year}, Required: []string{"owner"},
		},
		{
			Name: "confidential", DataClass: "confidential", DefaultOfClass: true, Description: "data for few: personal data, finances",
			Algorithm: "aes-256-gcm", Cryptoperiod: client.Cryptoperiod{EverySeconds: year}, Required: described,
			Locked: []string{"algorithm", "class", "exportable"}, DestructionWindowSeconds: 30 * 24 * 60 * 60,
		},
		{
			Name: "restricted", DataClass: "restricted", DefaultOfClass: true, Description: "data whose loss is not acceptable: health, card and authentication data",
			Algorithm: "aes-256-gcm", Cryptoperiod: client.Cryptoperiod{EverySeconds: year / 4}, Freeze: true, Required: append([]string{"description"}, described...),
			Locked: []string{"algorithm", "class", "cryptoperiod", "exportable", "freeze"}, DestructionWindowSeconds: 60 * 24 * 60 * 60, MinimumDestructionWindowSeconds: 30 * 24 * 60 * 60,
		},
		{
			Name: "signing", Description: "signatures",
			Algorithm: "ecdsa-p256", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year}, ProcessDeactivated: true, Required: described,
		},
		{
			Name: "signing-post-quantum", Description: "signatures that a quantum computer does not forge (FIPS 204)",
			Algorithm: "ml-dsa-65", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year}, ProcessDeactivated: true, Required: described,
		},
		{
			Name: "authentication", Description: "message authentication codes",
			Algorithm: "hmac-sha-256", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year}, Required: described,
		},
		{
			Name: "wrapping", Description: "keys that wrap keys",
			Algorithm: "aes-256-kw", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year}, Required: described,
		},
		{
			Name: "agreement", Description: "static keys of key agreement",
			Algorithm: "ecdh-p256", Cryptoperiod: client.Cryptoperiod{EverySeconds: year}, Required: described,
		},
		{
			Name: "transport-post-quantum", Description: "shared secrets that a quantum computer does not find (FIPS 203)",
			Algorithm: "ml-kem-768", Cryptoperiod: client.Cryptoperiod{EverySeconds: 2 * year}, Required: described,
		},
	}
}
