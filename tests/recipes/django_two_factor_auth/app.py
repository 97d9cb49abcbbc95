"""Logins in two steps by django-two-factor-auth."""

from base64 import b32decode

from django.core.wsgi import get_wsgi_application

from tests.recipes.django_base import NAME, prepare, project

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

project(
    "urls",
    apps=[
        "django_otp", "django_otp.plugins.otp_static", "django_otp.plugins.otp_totp", "two_factor",
    ],
    middleware=["django_otp.middleware.OTPMiddleware"],
    LOGIN_URL="two_factor:login",
)
app = get_wsgi_application()

if __name__ == "__main__":
    from django.contrib.auth import get_user_model
    from django_otp.plugins.otp_totp.models import TOTPDevice

    for name in (NAME, "without device", "in two steps"):
        prepare(name)
    for user in get_user_model().objects.exclude(username="without device"):
        TOTPDevice.objects.create(user=user, name="default", key=b32decode(SECRET).hex())
