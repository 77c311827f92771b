package client

import keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"

func fromEncryptInput(in EncryptInput) *keyholdv1.EncryptRequest {
	return &keyholdv1.EncryptRequest{
		Key: in.Key, Plaintext: in.Plaintext, Context: in.Context, Aad: in.AAD, Version: in.Version, Scheme: in.Scheme, Raw: in.Raw,
	}
}

func toEncrypt(p *keyholdv1.EncryptResponse) EncryptOutput {
	return EncryptOutput{Ciphertext: p.GetCiphertext(), KeyID: p.GetKeyId(), Version: p.GetVersion()}
}

func fromDecryptInput(in DecryptInput) *keyholdv1.DecryptRequest {
	return &keyholdv1.DecryptRequest{
		Key: in.Key, Ciphertext: in.Ciphertext, Context: in.Context, Aad: in.AAD, Version: in.Version, Scheme: in.Scheme, Raw: in.Raw,
	}
}

func toDecrypt(p *keyholdv1.DecryptResponse) DecryptOutput {
	return DecryptOutput{Plaintext: p.GetPlaintext(), KeyID: p.GetKeyId(), Version: p.GetVersion()}
}

func fromReEncryptInput(in ReEncryptInput) *keyholdv1.ReEncryptRequest {
	return &keyholdv1.ReEncryptRequest{
		FromKey: in.FromKey, ToKey: in.ToKey, Ciphertext: in.Ciphertext, FromContext: in.FromContext, FromAad: in.FromAAD, ToContext: in.ToContext, ToAad: in.ToAAD,
	}
}

func toReEncrypt(p *keyholdv1.ReEncryptResponse) ReEncryptOutput {
	return ReEncryptOutput{Ciphertext: p.GetCiphertext(), FromKeyID: p.GetFromKeyId(), ToKeyID: p.GetToKeyId(), Version: p.GetVersion()}
}

func fromGenerateDataKeyInput(in GenerateDataKeyInput) *keyholdv1.GenerateDataKeyRequest {
	return &keyholdv1.GenerateDataKeyRequest{
		Key: in.Key, Length: in.Length, Context: in.Context, Aad: in.AAD, WithoutPlaintext: in.WithoutPlaintext,
	}
}

func toGenerateDataKey(p *keyholdv1.GenerateDataKeyResponse) GenerateDataKeyOutput {
	return GenerateDataKeyOutput{Plaintext: p.GetPlaintext(), Ciphertext: p.GetCiphertext(), KeyID: p.GetKeyId(), Version: p.GetVersion()}
}

func fromSignInput(in SignInput) *keyholdv1.SignRequest {
	return &keyholdv1.SignRequest{
		Key: in.Key, Message: in.Message, Digested: in.Digested, Version: in.Version, Scheme: in.Scheme,
	}
}

func toSign(p *keyholdv1.SignResponse) SignOutput {
	return SignOutput{Signature: p.GetSignature(), KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

func fromVerifyInput(in VerifyInput) *keyholdv1.VerifyRequest {
	return &keyholdv1.VerifyRequest{
		Key: in.Key, Message: in.Message, Digested: in.Digested, Signature: in.Signature, Version: in.Version, Scheme: in.Scheme,
	}
}

func toVerify(p *keyholdv1.VerifyResponse) VerifyOutput {
	return VerifyOutput{KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

func fromGenerateMACInput(in GenerateMACInput) *keyholdv1.GenerateMacRequest {
	return &keyholdv1.GenerateMacRequest{
		Key: in.Key, Message: in.Message, Version: in.Version,
	}
}

func toGenerateMAC(p *keyholdv1.GenerateMacResponse) GenerateMACOutput {
	return GenerateMACOutput{MAC: p.GetMac(), KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}

func fromVerifyMACInput(in VerifyMACInput) *keyholdv1.VerifyMacRequest {
	return &keyholdv1.VerifyMacRequest{
		Key: in.Key, Message: in.Message, Mac: in.MAC, Version: in.Version,
	}
}

func toVerifyMAC(p *keyholdv1.VerifyMacResponse) VerifyOutput {
	return VerifyOutput{KeyID: p.GetKeyId(), Version: p.GetVersion(), Scheme: p.GetScheme()}
}
