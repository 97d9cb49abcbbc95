"""Accounts by django-allauth: verified e-mail, sessions that users can end, two factors."""

import os

from django.core.wsgi import get_wsgi_application

from tests.recipes.django_base import NAME, prepare, project

project(
    "urls",
    apps=[
        "allauth", "allauth.account", "allauth.usersessions", "allauth.mfa",
        "django.contrib.humanize",
    ],
    middleware=[
        "allauth.account.middleware.AccountMiddleware",
        "allauth.usersessions.middleware.UserSessionsMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
    ACCOUNT_LOGIN_METHODS={"email"},
    ACCOUNT_SIGNUP_FIELDS=["email*", "password1*", "password2*"],
    ACCOUNT_EMAIL_VERIFICATION="mandatory",
    ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED=os.environ["VERIFICATION"] == "code",
    USERSESSIONS_TRACK_ACTIVITY=True,
    EMAIL_BACKEND="django.core.mail.backends.console.EmailBackend",
)
app = get_wsgi_application()

if __name__ == "__main__":
    from allauth.account.models import EmailAddress
    from django.contrib.auth import get_user_model

    prepare()
    user = get_user_model().objects.get(username=NAME)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
