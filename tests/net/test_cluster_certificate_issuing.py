"""What is issued is a trust anchor for every verifier."""

from cryptography import x509

from clustersession.net.cluster_certificate import cluster_certificate
from clustersession.wire.keys import derive_keys


def test_the_certificate_is_a_trust_anchor_that_does_not_expire() -> None:
    pem = cluster_certificate(derive_keys("secret", "shop")).certificate_pem
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_before_utc.year == 2000
    assert certificate.not_valid_after_utc.year == 9999
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, True)
    certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    certificate.verify_directly_issued_by(certificate)
    assert b"shop" not in pem
